//! Writes an ext4 image: contents as they come, then the tree, then the tables.
//!
//! ```text
//! begin, append, end   contents, from the head onwards
//! finish               1 contents that nobody needs become free
//!                      2 inode tables for as many groups as there are inodes
//!                      3 directories, long links, attribute blocks, extent trees; their inodes
//!                      4 journal, resize inode
//!                      5 the size; the other tables and all bitmaps
//!                      6 descriptors and superblock, and their copies
//! ```
//!
//! Nothing is read back and everything is written once, except that what step 1 frees is cleared.
//! Lookups of the layout are deterministic: the same calls give the same bytes.

use crate::{
    allocator::Allocator,
    checksum::{file_system_seed, inode_seed},
    content::ContentStore,
    directory::{Entries, Entry, Layout, TooLarge},
    extent::{self, Extent},
    group::{Groups, Tables},
    image::{ContentId, DeviceNumber, Identity, ImageError, ImageSummary, ImageWriter, Timestamp},
    inode::{self, FLAG_EXTENTS, FLAG_INDEX, FileType, Inode},
    inode_table::{InodeTable, hash_seed},
    journal,
    numbering::{self, FIRST_INODE, LOST_AND_FOUND, Numbered, Numbering, ROOT_INODE},
    output::Output,
    resize_inode::{RESIZE_INODE, ResizeInode},
    sink::Sink,
    size::{
        BLOCK, BLOCK_BYTES, BLOCK_DESCRIPTORS, BLOCK_INODES, GROUP_BLOCKS, ImageSize, Plan, Spare,
        has_copy, inodes_per_group,
    },
    superblock::{SUPERBLOCK_OFFSET, Superblock},
    tree::{MetadataView, NameId, NodeId, NodeKind, Tree},
    xattr::{self, AttributeError},
};

/// The version of the layout. Images of different versions may differ in their bytes, so it
/// belongs into every key under which an image is kept.
pub const LAYOUT_VERSION: u32 = 2;

const JOURNAL_INODE: u32 = 8;
const RESERVED_INODES: [u32; 7] = [1, 3, 4, 5, 6, 9, 10];

/// An image in the making.
pub struct Ext4Writer<S> {
    plan: Plan,
    identity: Identity,
    allocator: Allocator,
    output: Output<S>,
    contents: ContentStore,
}

impl<S: Sink> Ext4Writer<S> {
    /// Begins an image. Nothing is written yet.
    pub fn new(sink: S, size: ImageSize, identity: Identity) -> Result<Self, ImageError> {
        let plan = Plan::new(size)?;
        Ok(Self {
            plan,
            identity,
            allocator: Allocator::new(plan.head_blocks()),
            output: Output::new(sink),
            contents: ContentStore::new(),
        })
    }
}

impl<S: Sink> ImageWriter for Ext4Writer<S> {
    fn begin(&mut self) {
        self.contents.begin();
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.contents
            .append(bytes, &mut self.allocator, &mut self.output)
    }

    fn append_hole(&mut self, len: u64) -> Result<(), ImageError> {
        self.contents
            .append_hole(len, &mut self.allocator, &mut self.output)
    }

    fn end(&mut self) -> Result<ContentId, ImageError> {
        self.contents.end(&mut self.allocator, &mut self.output)
    }

    fn finish(mut self, tree: &Tree) -> Result<ImageSummary, ImageError> {
        let numbering = Numbering::new(tree)?;
        self.drop_unnamed(tree, &numbering)?;
        let mut tables = self.first_tables(&numbering)?;
        let mut inodes = InodeTable::new(&self.identity, &tables.groups, tables.inodes_per_group);
        self.nodes(tree, &numbering, &mut inodes)?;
        let journal = self.journal(&mut inodes)?;
        let indirect = self.allocator.take_some(1)?.start;
        let blocks = self.settle_size(&tables, numbering.inodes())?;
        self.other_tables(&mut tables, blocks)?;
        let groups = tables.groups.len() as u64;
        let descriptor_blocks = groups.div_ceil(BLOCK_DESCRIPTORS);
        let kept = self.plan.descriptor_area - descriptor_blocks;
        self.resize_inode(
            ResizeInode::new(groups, descriptor_blocks, kept, indirect),
            &mut inodes,
        )?;
        for number in RESERVED_INODES {
            inodes.put_bytes(
                number,
                inode::unused(inodes.seed(), number),
                &mut self.output,
            )?;
        }
        inodes.flush(&mut self.output)?;
        let superblock = Superblock {
            uuid: self.identity.uuid,
            hash_seed: hash_seed(&self.identity.uuid),
            created: self.identity.created,
            blocks,
            free_blocks: 0,
            inodes_per_group: tables.inodes_per_group,
            groups,
            free_inodes: 0,
            reserved_descriptor_blocks: kept,
            lost_and_found: if numbering.has_lost_and_found {
                0
            } else {
                FIRST_INODE
            },
            journal_inode: JOURNAL_INODE,
            journal_area: journal,
            journal_bytes: self.plan.journal_blocks * BLOCK_BYTES,
            overhead_blocks: self.overhead_blocks(&tables),
        };
        let free_blocks = self.heads(
            superblock,
            &tables,
            numbering.inodes(),
            inodes.directories(),
        )?;
        // A last group that is left off is still a part of a given size.
        let size_bytes = self.plan.exact_blocks.unwrap_or(0).max(blocks) * BLOCK_BYTES;
        self.output.finish(size_bytes)?;
        Ok(ImageSummary {
            size_bytes,
            used_bytes: (blocks - free_blocks) * BLOCK_BYTES,
            nodes: numbering.order.len() as u64,
        })
    }
}

/// Where the tables of all groups are; the inode tables of the first ones stand before the rest.
struct GroupTables {
    groups: Vec<Tables>,
    inodes_per_group: u64,
}

impl GroupTables {
    fn table_blocks(&self) -> u64 {
        self.inodes_per_group / BLOCK_INODES
    }
}

impl<S: Sink> Ext4Writer<S> {
    /// As the kernel has counted it since 6.6 (`ext4_calculate_overhead`): superblocks, descriptors with
    /// what is kept for more of them, bitmaps, tables and the journal.
    fn overhead_blocks(&self, tables: &GroupTables) -> u64 {
        let groups = tables.groups.len() as u64;
        let copies = (0..groups).filter(|group| has_copy(*group)).count() as u64;
        let bitmaps = 2;
        copies * self.plan.head_blocks()
            + groups * (bitmaps + tables.table_blocks())
            + self.plan.journal_blocks
    }

    /// Step 1.
    fn drop_unnamed(&mut self, tree: &Tree, numbering: &Numbering) -> Result<(), ImageError> {
        let mut keep = vec![false; self.contents.len()];
        for numbered in &numbering.order {
            if let NodeKind::Regular(content) = tree.kind(numbered.node) {
                keep[content.0 as usize] = true;
            }
        }
        for run in self.contents.runs_without(&keep) {
            self.allocator.give_back(run);
        }
        for run in self.allocator.free_runs() {
            self.output.clear(run.start, run.len)?;
        }
        Ok(())
    }

    /// Step 2.
    fn first_tables(&mut self, numbering: &Numbering) -> Result<GroupTables, ImageError> {
        let inodes = u64::from(numbering.inodes());
        let too_many = ImageError::TooManyNodes { nodes: inodes };
        let inodes_per_group = match self.plan.exact_blocks {
            Some(blocks) if !self.plan.may_be_larger => {
                inodes_per_group(inodes, self.plan.usable_blocks(blocks))
            }
            given => {
                let taken = self.allocator.cursor() + self.plan.journal_blocks;
                let fitted = self.plan.fitted_blocks(taken, taken, Spare::Quarter);
                let least = given.map_or(fitted, |given| self.plan.usable_blocks(given));
                // With more inodes than these groups hold there will be more groups.
                inodes_per_group(inodes, least).or(Some(GROUP_BLOCKS))
            }
        };
        let inodes_per_group = inodes_per_group.ok_or(too_many)?;
        let mut tables = GroupTables {
            groups: Vec::new(),
            inodes_per_group,
        };
        for _ in 0..inodes.div_ceil(inodes_per_group) {
            let inode_table = self.allocator.take_together(tables.table_blocks())?.start;
            tables.groups.push(Tables {
                block_bitmap: 0,
                inode_bitmap: 0,
                inode_table,
            });
        }
        Ok(tables)
    }

    /// Step 3.
    fn nodes(
        &mut self,
        tree: &Tree,
        numbering: &Numbering,
        inodes: &mut InodeTable,
    ) -> Result<(), ImageError> {
        for numbered in &numbering.order {
            self.node(tree, numbering, *numbered, inodes)?;
            if numbered.node == Tree::ROOT && !numbering.has_lost_and_found {
                self.lost_and_found(inodes)?;
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        tree: &Tree,
        numbering: &Numbering,
        numbered: Numbered,
        inodes: &mut InodeTable,
    ) -> Result<(), ImageError> {
        let id = numbered.node;
        let kind = tree.kind(id);
        let metadata = tree.metadata(id);
        let number = numbering.number(id);
        let path = || numbering::describe(tree, numbering, id);
        let seed = inode_seed(inodes.seed(), number);
        let mut inode = Inode {
            file_type: file_type(kind),
            metadata,
            links: numbering.links(id),
            size: 0,
            blocks: 0,
            flags: 0,
            area: [0; 60],
            attribute_block: 0,
            attributes: Vec::new(),
        };
        match kind {
            NodeKind::Directory => {
                let parent = numbering.number(numbered.parent);
                let frame = inodes.frame(number, parent);
                let listing = Listing::new(tree, numbering, id);
                let layout = Layout::new(frame, &listing)
                    .map_err(|TooLarge| ImageError::DirectoryTooLarge { path: path() })?;
                if layout.is_indexed() {
                    inode.flags |= FLAG_INDEX;
                }
                self.fill(&mut inode, layout.blocks(), seed, |number, block| {
                    layout.block(&listing, number, block);
                })?;
                inode.size = layout.blocks() as u64 * BLOCK_BYTES;
                inodes.count_directory(number);
            }
            NodeKind::Regular(content) => {
                let (size, extents) = self.contents.get(content);
                inode.size = size;
                inode.flags |= FLAG_EXTENTS;
                let root = extent::write_tree(
                    extents.iter().copied(),
                    seed,
                    &mut self.allocator,
                    &mut self.output,
                )?;
                inode.area = root.bytes;
                inode.blocks = root.tree_blocks
                    + extents
                        .iter()
                        .map(|extent| u64::from(extent.len()))
                        .sum::<u64>();
            }
            NodeKind::Symlink(target) if target.len() < inode.area.len() => {
                inode.size = target.len() as u64;
                inode.area[..target.len()].copy_from_slice(target);
            }
            NodeKind::Symlink(target) => {
                self.fill(&mut inode, 1, seed, |_, block| {
                    block[..target.len()].copy_from_slice(target);
                })?;
                inode.size = target.len() as u64;
            }
            NodeKind::CharacterDevice(device) | NodeKind::BlockDevice(device) => {
                inode.area = device_area(device);
            }
            NodeKind::Fifo | NodeKind::Socket => {}
        }
        let mut placed = xattr::place(metadata.attributes).map_err(|error| match error {
            AttributeError::TooLarge { limit_bytes } => ImageError::AttributesTooLarge {
                path: path(),
                limit_bytes,
            },
            AttributeError::Invalid { name } => ImageError::AttributeInvalid {
                path: path(),
                name: name.escape_ascii().to_string(),
            },
        })?;
        if let Some(block) = &mut placed.block {
            inode.attribute_block = self.allocator.take_some(1)?.start;
            inode.blocks += 1;
            xattr::seal(block, inodes.seed(), inode.attribute_block);
            self.output
                .write_block(inode.attribute_block, block.as_slice())?;
        }
        inode.attributes = placed.in_inode;
        inodes.put(number, &inode, &mut self.output)
    }

    /// Gives `inode` so many blocks; `put` writes each of them over zeros.
    fn fill(
        &mut self,
        inode: &mut Inode<'_>,
        blocks: usize,
        seed: u32,
        put: impl Fn(usize, &mut [u8; BLOCK]),
    ) -> Result<(), ImageError> {
        let extents = self.take_extents(blocks as u64)?;
        let places = extents
            .iter()
            .flat_map(|extent| extent.start()..extent.start() + u64::from(extent.len()));
        for (number, at) in places.enumerate() {
            let mut block = [0; BLOCK];
            put(number, &mut block);
            self.output.write_block(at, &block)?;
        }
        let root = extent::write_tree(
            extents.into_iter(),
            seed,
            &mut self.allocator,
            &mut self.output,
        )?;
        inode.flags |= FLAG_EXTENTS;
        inode.area = root.bytes;
        inode.blocks = root.tree_blocks + blocks as u64;
        Ok(())
    }

    /// Room for `blocks` of a file, in as few extents as there is room for.
    fn take_extents(&mut self, blocks: u64) -> Result<Vec<Extent>, ImageError> {
        let mut extents = Vec::new();
        let mut done = 0;
        while done < blocks {
            let run = self
                .allocator
                .take_some((blocks - done).min(u64::from(extent::EXTENT_BLOCKS_MAX)))?;
            let logical = u32::try_from(done).expect("a directory or journal is below 2^32 blocks");
            let extent = Extent::new(logical, run);
            done += u64::from(extent.len());
            extents.push(extent);
        }
        Ok(extents)
    }

    /// The directory that every ext4 has; without it a check reports an error.
    fn lost_and_found(&mut self, inodes: &mut InodeTable) -> Result<(), ImageError> {
        let metadata = system_metadata(0o700, self.identity.created);
        let mut inode = system_inode(FileType::Directory, metadata, 2);
        let frame = inodes.frame(FIRST_INODE, ROOT_INODE);
        let nothing: &[Entry<'_>] = &[];
        let layout = Layout::new(frame, nothing).expect("an empty directory fits");
        self.fill(
            &mut inode,
            layout.blocks(),
            frame.inode_seed,
            |number, block| {
                layout.block(nothing, number, block);
            },
        )?;
        inode.size = BLOCK_BYTES;
        inodes.count_directory(FIRST_INODE);
        inodes.put(FIRST_INODE, &inode, &mut self.output)
    }

    /// Step 4, first half.
    fn journal(&mut self, inodes: &mut InodeTable) -> Result<[u8; 60], ImageError> {
        let metadata = system_metadata(0o600, self.identity.created);
        let mut inode = system_inode(FileType::Regular, metadata, 1);
        let first = journal::superblock(self.plan.journal_blocks, &self.identity.uuid);
        let extents = self.take_extents(self.plan.journal_blocks)?;
        self.output.write_block(extents[0].start(), &first)?;
        let seed = inode_seed(inodes.seed(), JOURNAL_INODE);
        let root = extent::write_tree(
            extents.into_iter(),
            seed,
            &mut self.allocator,
            &mut self.output,
        )?;
        inode.flags |= FLAG_EXTENTS;
        inode.size = self.plan.journal_blocks * BLOCK_BYTES;
        inode.blocks = self.plan.journal_blocks + root.tree_blocks;
        inode.area = root.bytes;
        inodes.put(JOURNAL_INODE, &inode, &mut self.output)?;
        Ok(root.bytes)
    }

    /// Step 4, second half.
    fn resize_inode(
        &mut self,
        resize: ResizeInode,
        inodes: &mut InodeTable,
    ) -> Result<(), ImageError> {
        let metadata = system_metadata(0o600, self.identity.created);
        let mut inode = system_inode(FileType::Regular, metadata, 1);
        inode.size = ResizeInode::SIZE;
        inode.blocks = resize.blocks;
        inode.area = resize.area;
        let at = resize.area[13 * 4..14 * 4].try_into().expect("four bytes");
        self.output
            .write_block(u64::from(u32::from_le_bytes(at)), &resize.indirect)?;
        for (block, bytes) in &resize.kept {
            self.output.write_block(*block, bytes)?;
        }
        inodes.put(RESIZE_INODE, &inode, &mut self.output)
    }

    /// Step 5, the size: large enough for what is there and for the tables that follow from it.
    fn settle_size(&self, tables: &GroupTables, inodes: u32) -> Result<u64, ImageError> {
        let fitted = |spare: Spare| -> Result<u64, ImageError> {
            let needed = u64::from(inodes) + u64::from(inodes) / 8;
            let least = needed.div_ceil(tables.inodes_per_group).max(1);
            let mut groups = least;
            // Tables are a sixtieth of a group, so each round adds far less than the one before.
            loop {
                let mut trial = self.allocator.clone();
                take_tables(&mut trial, tables, groups)?;
                // Copies of the superblock in the free part are not free.
                let ahead = trial.cursor().div_ceil(GROUP_BLOCKS)..groups;
                let copies = ahead.filter(|group| has_copy(*group)).count() as u64;
                let heads = copies * self.plan.head_blocks();
                let (taken, used) = (trial.cursor() + heads, trial.used() + heads);
                let blocks = self.plan.fitted_blocks(taken, used, spare);
                let blocks = match (least - 1) * GROUP_BLOCKS {
                    inodes_need if inodes_need >= blocks => {
                        self.plan.fitted_blocks(inodes_need + 1, 0, Spare::None)
                    }
                    _ => blocks,
                };
                let found = blocks.div_ceil(GROUP_BLOCKS);
                if found <= groups {
                    return Ok(blocks);
                }
                groups = found;
            }
        };
        let Some(given) = self.plan.exact_blocks else {
            return fitted(Spare::Quarter);
        };
        let blocks = self.plan.usable_blocks(given);
        let mut trial = self.allocator.clone();
        take_tables(&mut trial, tables, blocks.div_ceil(GROUP_BLOCKS))?;
        let inodes_fit =
            u64::from(inodes) <= blocks.div_ceil(GROUP_BLOCKS) * tables.inodes_per_group;
        if trial.cursor() > blocks || !inodes_fit {
            if self.plan.may_be_larger {
                return fitted(Spare::Quarter);
            }
            return Err(ImageError::TooSmall {
                needed_bytes: fitted(Spare::None)? * BLOCK_BYTES,
                given_bytes: given * BLOCK_BYTES,
            });
        }
        Ok(blocks)
    }

    /// Step 5, the tables.
    fn other_tables(&mut self, tables: &mut GroupTables, blocks: u64) -> Result<(), ImageError> {
        let groups = blocks.div_ceil(GROUP_BLOCKS);
        tables.groups = take_tables(&mut self.allocator, tables, groups)?;
        Ok(())
    }

    /// Step 6; gives the number of free blocks.
    fn heads(
        &mut self,
        mut superblock: Superblock,
        tables: &GroupTables,
        inodes: u32,
        directories: &[u64],
    ) -> Result<u64, ImageError> {
        let free = self.allocator.free_runs();
        let groups = Groups {
            total_blocks: superblock.blocks,
            head_blocks: self.plan.head_blocks(),
            cursor: self.allocator.cursor(),
            free: &free,
            inodes_per_group: tables.inodes_per_group,
            inodes_used: u64::from(inodes),
            file_system_seed: file_system_seed(&self.identity.uuid),
        };
        let mut descriptors = Vec::with_capacity(tables.groups.len() * 64);
        for (number, place) in (0u64..).zip(&tables.groups) {
            let in_use = directories.get(usize::try_from(number).expect("a count of groups"));
            let group = groups.group(number, *place, in_use.copied().unwrap_or(0));
            if let Some(bitmap) = &group.block_bitmap {
                self.output.write_block(place.block_bitmap, bitmap)?;
            }
            if let Some(bitmap) = &group.inode_bitmap {
                self.output.write_block(place.inode_bitmap, bitmap)?;
            }
            superblock.free_blocks += group.free_blocks;
            superblock.free_inodes += group.free_inodes;
            descriptors.extend_from_slice(&group.descriptor);
        }
        descriptors.resize(descriptors.len().next_multiple_of(BLOCK), 0);
        for copy in (1..groups.count()).filter(|group| has_copy(*group)) {
            let mut block = superblock.encode(copy).to_vec();
            block.resize(BLOCK, 0);
            self.output.write_block(copy * GROUP_BLOCKS, &block)?;
            self.output
                .write_block(copy * GROUP_BLOCKS + 1, &descriptors)?;
        }
        self.output.write_block(1, &descriptors)?;
        self.output.flush()?;
        self.output
            .write_now(SUPERBLOCK_OFFSET, &superblock.encode(0))?;
        Ok(superblock.free_blocks)
    }
}

/// Places of the tables of `groups` groups, of which some inode tables have theirs already.
fn take_tables(
    allocator: &mut Allocator,
    tables: &GroupTables,
    groups: u64,
) -> Result<Vec<Tables>, ImageError> {
    let mut all = tables.groups.clone();
    for _ in all.len() as u64..groups {
        let inode_table = allocator.take_together(tables.table_blocks())?.start;
        all.push(Tables {
            block_bitmap: 0,
            inode_bitmap: 0,
            inode_table,
        });
    }
    for place in &mut all {
        place.block_bitmap = allocator.take_some(1)?.start;
    }
    for place in &mut all {
        place.inode_bitmap = allocator.take_some(1)?.start;
    }
    Ok(all)
}

fn file_type(kind: NodeKind<'_>) -> FileType {
    match kind {
        NodeKind::Directory => FileType::Directory,
        NodeKind::Regular(_) => FileType::Regular,
        NodeKind::Symlink(_) => FileType::Symlink,
        NodeKind::CharacterDevice(_) => FileType::CharacterDevice,
        NodeKind::BlockDevice(_) => FileType::BlockDevice,
        NodeKind::Fifo => FileType::Fifo,
        NodeKind::Socket => FileType::Socket,
    }
}

/// The names of a directory in order, the root's with the one that we add.
struct Listing<'a> {
    tree: &'a Tree,
    numbering: &'a Numbering,
    names: Vec<NameId>,
    /// Where the added one stands.
    added: Option<usize>,
}

impl<'a> Listing<'a> {
    fn new(tree: &'a Tree, numbering: &'a Numbering, directory: NodeId) -> Self {
        let names = numbering::sorted(tree, directory);
        let added = (directory == Tree::ROOT && !numbering.has_lost_and_found)
            .then(|| names.partition_point(|name| tree.text(*name) < LOST_AND_FOUND));
        Self {
            tree,
            numbering,
            names,
            added,
        }
    }
}

impl Entries for Listing<'_> {
    fn len(&self) -> usize {
        self.names.len() + usize::from(self.added.is_some())
    }

    fn get(&self, position: usize) -> Entry<'_> {
        let name = match self.added {
            Some(added) if added == position => {
                return Entry {
                    name: LOST_AND_FOUND,
                    inode: FIRST_INODE,
                    file_type: FileType::Directory.entry_type(),
                };
            }
            Some(added) if added < position => self.names[position - 1],
            _ => self.names[position],
        };
        let node = self.tree.named(name).expect("it was listed with its node");
        Entry {
            name: self.tree.text(name),
            inode: self.numbering.number(node),
            file_type: file_type(self.tree.kind(node)).entry_type(),
        }
    }
}

/// Small numbers in the old form, others in the new one, as the kernel does.
fn device_area(device: DeviceNumber) -> [u8; 60] {
    let mut area = [0; 60];
    let DeviceNumber { major, minor } = device;
    if major < 256 && minor < 256 {
        area[0..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
    } else {
        let number = (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
        area[4..8].copy_from_slice(&number.to_le_bytes());
    }
    area
}

fn system_metadata(mode: u16, created: u32) -> MetadataView<'static> {
    MetadataView {
        mode,
        uid: 0,
        gid: 0,
        modified: Timestamp {
            seconds: i64::from(created),
            nanoseconds: 0,
        },
        attributes: &[],
    }
}

fn system_inode(file_type: FileType, metadata: MetadataView<'_>, links: u16) -> Inode<'_> {
    Inode {
        file_type,
        metadata,
        links,
        size: 0,
        blocks: 0,
        flags: 0,
        area: [0; 60],
        attribute_block: 0,
        attributes: Vec::new(),
    }
}
