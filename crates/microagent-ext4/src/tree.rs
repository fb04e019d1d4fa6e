//! The tree of an image, held small: an image may have a million files, and all of them are
//! remembered until the last layer has been read.
//!
//! ```text
//! node    16 bytes  its time, what it shares with others and its kind, where its content is
//! name    16 bytes  its text, its directory, its node, the name before it in that directory
//! slot    some 8    finds a name by directory and text
//! ```
//!
//! Owner, mode and attributes are held once for all nodes that have the same. A name can lose its
//! node and get another, so layers can be laid on one another here. Texts are held once a name.

use crate::{
    image::{Attribute, ContentId, DeviceNumber, Metadata, Timestamp},
    slots::Slots,
};

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The position in the tree.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A name of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(u32);

impl NameId {
    /// The position among the names, in the order in which they were given.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind<'a> {
    /// A directory.
    Directory,
    /// A regular file; several nodes may share one content.
    Regular(ContentId),
    /// A symbolic link to 1 to 4095 bytes.
    Symlink(&'a [u8]),
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A node: what it is and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// Owner, mode, times, attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: NodeKind<'a>,
}

/// Owner, mode, times and attributes of a node in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataView<'a> {
    /// The twelve permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Last change of the content, as far as ext4 can hold it.
    pub modified: Timestamp,
    /// Extended attributes.
    pub attributes: &'a [Attribute],
}

/// Bytes that each node takes, beside what its kind adds to the text and the metadata that it shares.
pub const NODE_BYTES: usize = 16;
/// Bytes that each name takes beside its text, its place in the index included.
pub const NAME_BYTES: usize = 16 + 8 + TEXT_LENGTH_BYTES;
/// Bytes that a set of owner, mode and attributes takes beside its attributes, likewise.
pub const SHARED_BYTES: usize = 32 + 8;

/// Texts are shorter than 64 KiB.
const TEXT_LENGTH_BYTES: usize = 2;
/// Nobody: no node, no name.
const NONE: u32 = u32::MAX;
const SHARED_BITS: u32 = 29;

/// All nodes of an image and their names. Node 0 is the root directory; nodes that no path reaches are
/// left out of the image.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<PackedNode>,
    shared: Vec<Shared>,
    shared_slots: Slots,
    attribute_bytes: usize,
    devices: Vec<DeviceNumber>,
    names: Vec<PackedName>,
    name_slots: Slots,
    text: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct PackedNode {
    /// Seconds from the first that ext4 holds, 34 bits, and nanoseconds, 30 bits.
    time: u64,
    /// The kind, 3 bits, and which of the shared metadata, 29 bits.
    kind_and_shared: u32,
    /// Of a directory its last name, of a file its content, of a link its text, of a device its number.
    payload: u32,
}

/// What many nodes have alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shared {
    mode: u16,
    uid: u32,
    gid: u32,
    attributes: Box<[Attribute]>,
}

#[derive(Debug, Clone, Copy)]
struct PackedName {
    text: u32,
    directory: u32,
    node: u32,
    before: u32,
}

impl Tree {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree with an empty root.
    pub fn new(root: Metadata) -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            shared: Vec::new(),
            shared_slots: Slots::new(),
            attribute_bytes: 0,
            devices: Vec::new(),
            names: Vec::new(),
            name_slots: Slots::new(),
            text: Vec::new(),
        };
        tree.add(Node {
            metadata: root,
            kind: NodeKind::Directory,
        });
        tree
    }

    /// Adds a node that has no name yet.
    ///
    /// # Panics
    /// When there are 2^29 nodes, or 4 GiB of text: what reads images has far lower bounds.
    pub fn add(&mut self, node: Node<'_>) -> NodeId {
        let Node { metadata, kind } = node;
        let id = number(self.nodes.len());
        let (tag, payload) = match kind {
            NodeKind::Directory => (0, NONE),
            NodeKind::Regular(content) => (1, content.0),
            NodeKind::Symlink(target) => (2, self.put_text(target)),
            NodeKind::CharacterDevice(device) => (3, self.put_device(device)),
            NodeKind::BlockDevice(device) => (4, self.put_device(device)),
            NodeKind::Fifo => (5, 0),
            NodeKind::Socket => (6, 0),
        };
        let time = pack(metadata.modified);
        let shared = self.share(metadata);
        self.nodes.push(PackedNode {
            time,
            kind_and_shared: tag << SHARED_BITS | shared,
            payload,
        });
        NodeId(id)
    }

    /// Gives a node another owner, mode, time and other attributes.
    pub fn describe(&mut self, id: NodeId, metadata: Metadata) {
        let time = pack(metadata.modified);
        let shared = self.share(metadata);
        let node = &mut self.nodes[id.index()];
        node.time = time;
        node.kind_and_shared = node.kind_and_shared >> SHARED_BITS << SHARED_BITS | shared;
    }

    /// Gives `node` a name in `directory`. Names are checked when the image is written, among them that
    /// each stands once in its directory.
    ///
    /// # Panics
    /// When `directory` is not a directory, or the name has 64 KiB.
    pub fn link(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> NameId {
        assert!(self.is_directory(directory), "only a directory has names");
        let text = self.put_text(name);
        let id = number(self.names.len());
        let before = std::mem::replace(&mut self.nodes[directory.index()].payload, id);
        self.names.push(PackedName {
            text,
            directory: directory.0,
            node: node.0,
            before,
        });
        let hash = self.name_slots.hash((directory.0, name));
        let (names, texts) = (&self.names, &self.text);
        self.name_slots.put(hash, id, |slots, other| {
            let name = &names[other as usize];
            slots.hash((name.directory, text_at(texts, name.text)))
        });
        NameId(id)
    }

    /// Gives a name another node, or none: the name is as good as gone then.
    pub fn relink(&mut self, name: NameId, node: Option<NodeId>) {
        self.names[name.index()].node = node.map_or(NONE, |node| node.0);
    }

    /// The name in a directory, also one that has lost its node.
    pub fn find(&self, directory: NodeId, name: &[u8]) -> Option<NameId> {
        let hash = self.name_slots.hash((directory.0, name));
        let found = self.name_slots.find(hash, |id| {
            let found = &self.names[id as usize];
            found.directory == directory.0 && text_at(&self.text, found.text) == name
        });
        found.map(NameId)
    }

    /// What a name names.
    pub fn named(&self, name: NameId) -> Option<NodeId> {
        let node = self.names[name.index()].node;
        (node != NONE).then_some(NodeId(node))
    }

    /// The bytes of a name.
    pub fn text(&self, name: NameId) -> &[u8] {
        text_at(&self.text, self.names[name.index()].text)
    }

    /// The names in a directory that have a node, the last one first; none of what is no directory.
    pub fn names(&self, directory: NodeId) -> impl Iterator<Item = NameId> {
        let first = if self.is_directory(directory) {
            self.nodes[directory.index()].payload
        } else {
            NONE
        };
        let known = |id: u32| (id != NONE).then_some(NameId(id));
        std::iter::successors(known(first), move |name| {
            known(self.names[name.index()].before)
        })
        .filter(|name| self.named(*name).is_some())
    }

    /// What a node is.
    pub fn kind(&self, id: NodeId) -> NodeKind<'_> {
        let node = self.nodes[id.index()];
        match node.kind_and_shared >> SHARED_BITS {
            0 => NodeKind::Directory,
            1 => NodeKind::Regular(ContentId(node.payload)),
            2 => NodeKind::Symlink(text_at(&self.text, node.payload)),
            3 => NodeKind::CharacterDevice(self.devices[node.payload as usize]),
            4 => NodeKind::BlockDevice(self.devices[node.payload as usize]),
            5 => NodeKind::Fifo,
            _ => NodeKind::Socket,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self, id: NodeId) -> bool {
        self.nodes[id.index()].kind_and_shared >> SHARED_BITS == 0
    }

    /// What a node has.
    pub fn metadata(&self, id: NodeId) -> MetadataView<'_> {
        let node = self.nodes[id.index()];
        let shared = &self.shared[(node.kind_and_shared & ((1 << SHARED_BITS) - 1)) as usize];
        MetadataView {
            mode: shared.mode,
            uid: shared.uid,
            gid: shared.gid,
            modified: unpack(node.time),
            attributes: &shared.attributes,
        }
    }

    /// How many nodes there are, those without a name included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is always a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// How many bytes all of it takes, by [`NODE_BYTES`], [`NAME_BYTES`] and [`SHARED_BYTES`].
    pub fn held_bytes(&self) -> usize {
        self.nodes.len() * NODE_BYTES
            + self.names.len() * (NAME_BYTES - TEXT_LENGTH_BYTES)
            + self.text.len()
            + self.devices.len() * size_of::<DeviceNumber>()
            + self.shared.len() * SHARED_BYTES
            + self.attribute_bytes
    }

    fn share(&mut self, metadata: Metadata) -> u32 {
        let shared = Shared {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            attributes: metadata.attributes.into(),
        };
        let hash = self.shared_slots.hash(&shared);
        let known = self
            .shared_slots
            .find(hash, |id| self.shared[id as usize] == shared);
        if let Some(id) = known {
            return id;
        }
        let id = number(self.shared.len());
        assert!(id < 1 << SHARED_BITS, "fewer than 2^29 nodes");
        self.attribute_bytes += shared
            .attributes
            .iter()
            .map(|attribute| size_of::<Attribute>() + attribute.name.len() + attribute.value.len())
            .sum::<usize>();
        self.shared.push(shared);
        let all = &self.shared;
        self.shared_slots
            .put(hash, id, |slots, other| slots.hash(&all[other as usize]));
        id
    }

    fn put_text(&mut self, text: &[u8]) -> u32 {
        let len = u16::try_from(text.len()).expect("a text is below 64 KiB");
        let at = number(self.text.len());
        self.text.extend_from_slice(&len.to_le_bytes());
        self.text.extend_from_slice(text);
        at
    }

    fn put_device(&mut self, device: DeviceNumber) -> u32 {
        self.devices.push(device);
        number(self.devices.len() - 1)
    }
}

fn text_at(texts: &[u8], at: u32) -> &[u8] {
    let text = &texts[at as usize..];
    let (len, rest) = text.split_at(TEXT_LENGTH_BYTES);
    &rest[..usize::from(u16::from_le_bytes([len[0], len[1]]))]
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 of them")
}

/// What ext4 has room for: 34 bits of seconds, from 1901 on.
const SECONDS_FIRST: i64 = i32::MIN as i64;
const SECONDS_LAST: i64 = SECONDS_FIRST + (1 << 34) - 1;

fn pack(time: Timestamp) -> u64 {
    let seconds = time.seconds.clamp(SECONDS_FIRST, SECONDS_LAST);
    let since = (seconds - SECONDS_FIRST).unsigned_abs();
    since << 30 | u64::from(time.nanoseconds.min(999_999_999))
}

fn unpack(packed: u64) -> Timestamp {
    let seconds = i64::try_from(packed >> 30).expect("34 bits") + SECONDS_FIRST;
    let nanoseconds = u32::try_from(packed & ((1 << 30) - 1)).expect("30 bits");
    Timestamp {
        seconds,
        nanoseconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(mode: u16, seconds: i64) -> Metadata {
        Metadata {
            mode,
            uid: 1,
            gid: 2,
            modified: Timestamp {
                seconds,
                nanoseconds: 999_999_999,
            },
            attributes: Vec::new(),
        }
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let device = DeviceNumber { major: 8, minor: 1 };
        let kinds = [
            NodeKind::Directory,
            NodeKind::Regular(ContentId(7)),
            NodeKind::Symlink(b"target"),
            NodeKind::CharacterDevice(device),
            NodeKind::BlockDevice(device),
            NodeKind::Fifo,
            NodeKind::Socket,
        ];
        let mut tree = Tree::new(metadata(0o700, 0));
        for (kind, seconds) in kinds
            .into_iter()
            .zip([-1, 0, 1, SECONDS_FIRST, SECONDS_LAST, 5, 6])
        {
            let metadata = metadata(0o644, seconds);
            let modified = metadata.modified;
            let id = tree.add(Node { metadata, kind });
            assert_eq!(tree.kind(id), kind);
            let view = tree.metadata(id);
            assert_eq!((view.mode, view.uid, view.gid), (0o644, 1, 2));
            assert_eq!(view.modified, modified);
            tree.describe(id, self::metadata(0o600, 9));
            assert_eq!(tree.metadata(id).mode, 0o600);
            assert_eq!(tree.kind(id), kind, "a description changes no kind");
        }
        assert_eq!(tree.len(), kinds.len() + 1);
    }

    #[test]
    fn a_time_beyond_what_ext4_holds_is_moved_to_the_nearer_end() {
        for (given, kept) in [(i64::MIN, SECONDS_FIRST), (i64::MAX, SECONDS_LAST)] {
            let id = Tree::ROOT;
            assert_eq!(
                Tree::new(metadata(0, given)).metadata(id).modified.seconds,
                kept
            );
        }
    }

    #[test]
    fn a_name_is_found_in_its_directory_and_may_lose_its_node() {
        let mut tree = Tree::new(metadata(0o755, 0));
        let fifo = |tree: &mut Tree| {
            tree.add(Node {
                metadata: metadata(0, 0),
                kind: NodeKind::Fifo,
            })
        };
        let folder = tree.add(Node {
            metadata: metadata(0, 0),
            kind: NodeKind::Directory,
        });
        tree.link(Tree::ROOT, b"d", folder);
        let (first, second) = (fifo(&mut tree), fifo(&mut tree));
        let name = tree.link(Tree::ROOT, b"a", first);
        tree.link(folder, b"a", second);
        assert_eq!(tree.find(Tree::ROOT, b"a"), Some(name));
        assert_eq!(tree.find(folder, b"b"), None);
        assert_eq!(tree.named(name), Some(first));
        let texts = |tree: &Tree| -> Vec<Vec<u8>> {
            tree.names(Tree::ROOT)
                .map(|name| tree.text(name).to_vec())
                .collect()
        };
        assert_eq!(texts(&tree), [b"a", b"d"]);
        tree.relink(name, None);
        assert_eq!(tree.named(name), None);
        assert_eq!(texts(&tree), [b"d"]);
        tree.relink(name, Some(second));
        assert_eq!(tree.named(name), Some(second));
        assert_eq!(tree.names(second).count(), 0, "a pipe has no names");
    }

    #[test]
    fn what_many_nodes_have_alike_is_held_once() {
        let mut tree = Tree::new(metadata(0o755, 0));
        let before = tree.held_bytes();
        for seconds in 0..1000 {
            let metadata = metadata(0o644, seconds);
            tree.add(Node {
                metadata,
                kind: NodeKind::Fifo,
            });
        }
        let growth = tree.held_bytes() - before;
        assert_eq!(growth, 1000 * NODE_BYTES + SHARED_BYTES);
    }
}
