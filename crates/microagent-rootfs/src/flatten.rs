//! What is left when layers lie on one another. Entries in, one tree out; nothing else.
//!
//! The rules are those of the engines that images are made with:
//!
//! * an entry replaces what an earlier one put at its path; a directory on a directory changes
//!   its owner, mode, time and attributes and keeps what is in it;
//! * `.wh.NAME` removes what *lower* layers put at NAME, `.wh..wh..opq` everything that they put
//!   into its directory, wherever in the layer the mark stands;
//! * a symbolic link on the way to an entry is followed inside the root, as often as the kernel
//!   would; a directory that is missing on the way is made;
//! * a hard link names what is at its target at that moment, of this layer or a lower one.
//!
//! Recursion is over lists of our own, so depth costs memory and no stack.

use std::collections::BTreeMap;

use microagent_ext4::{Metadata, Node, NodeId, NodeKind, Tree};
use thiserror::Error;

use crate::entry::{EntryKind, EntryPath, LayerEntry};

/// As many symbolic links as the kernel follows in one path.
const LINKS_FOLLOWED_MAX: usize = 40;
/// The most entries that make nodes, those that are replaced later included; more would fill the
/// host's memory before its disk.
pub const NODES_MAX: usize = 2_000_000;
/// The most bytes of all names, link targets and attributes, likewise.
pub const TEXT_BYTES_MAX: usize = 256 << 20;
/// The mode of a directory that no entry describes.
const IMPLIED_DIRECTORY_MODE: u16 = 0o755;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other marks of an older format; they describe that format's own bookkeeping.
const OTHER_MARKS: &[u8] = b".wh..wh.";

/// Why a layer can't be laid on those below. Paths are escaped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlattenError {
    /// Something on the way to an entry is not a directory.
    #[error("`{path}` cannot be placed, since `{parent}` is not a directory")]
    NotADirectory {
        /// The entry.
        path: String,
        /// What is in the way.
        parent: String,
    },
    /// Symbolic links lead in a circle.
    #[error(
        "`{path}` cannot be placed, since more than {LINKS_FOLLOWED_MAX} symbolic links lead to it"
    )]
    LinkCircle {
        /// The entry.
        path: String,
    },
    /// A hard link to nothing.
    #[error("the hard link `{path}` leads to `{target}`, which is not there")]
    LinkTarget {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// A hard link to a directory.
    #[error("the hard link `{path}` leads to the directory `{target}`")]
    LinkToDirectory {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// An entry that would replace the root.
    #[error("the root can only be a directory")]
    Root,
    /// A whiteout that names nothing, or a directory itself.
    #[error("the whiteout `{path}` names nothing")]
    Whiteout {
        /// The mark.
        path: String,
    },
    /// More nodes than an image may have.
    #[error("the image has more than {limit} files")]
    TooManyNodes {
        /// How many it may have.
        limit: usize,
    },
    /// More names, link targets and attributes than an image may have.
    #[error("names, link targets and attributes of the image have more than {limit_bytes} bytes")]
    TooMuchText {
        /// How many it may have.
        limit_bytes: usize,
    },
}

/// Whether names that begin with `.wh.` are marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// They are, in layers.
    Honoured,
    /// They are plain files, in a tarball that is no layer.
    Plain,
}

type NodeIndex = u32;
const ROOT: NodeIndex = 0;

#[derive(Debug)]
struct FlatNode {
    metadata: Metadata,
    kind: FlatKind,
}

#[derive(Debug)]
enum FlatKind {
    Directory(BTreeMap<Box<[u8]>, Name>),
    Symlink(Box<[u8]>),
    Other(NodeKind),
}

/// A name in a directory, and the layer that last had to do with it.
#[derive(Debug, Clone, Copy)]
struct Name {
    node: NodeIndex,
    layer: u32,
}

/// Layers that have been laid on one another so far.
#[derive(Debug)]
pub struct Flattening {
    nodes: Vec<FlatNode>,
    layer: u32,
    whiteouts: Whiteouts,
    nodes_max: usize,
    text_bytes_max: usize,
    text_bytes: usize,
}

impl Flattening {
    /// An empty root, before the first layer.
    pub fn new(whiteouts: Whiteouts) -> Self {
        let root = FlatNode {
            metadata: implied_metadata(),
            kind: FlatKind::Directory(BTreeMap::new()),
        };
        Self {
            nodes: vec![root],
            layer: 0,
            whiteouts,
            nodes_max: NODES_MAX,
            text_bytes_max: TEXT_BYTES_MAX,
            text_bytes: 0,
        }
    }

    /// Begins the next layer.
    pub fn begin_layer(&mut self) {
        self.layer += 1;
    }

    /// Lays an entry on what is there.
    pub fn apply(&mut self, entry: LayerEntry) -> Result<(), FlattenError> {
        let LayerEntry {
            path,
            kind,
            metadata,
        } = entry;
        self.count(&path, &kind, &metadata)?;
        let Some((parent, name)) = path.split_last() else {
            return match kind {
                EntryKind::Directory => {
                    self.nodes[ROOT as usize].metadata = metadata;
                    Ok(())
                }
                _ => Err(FlattenError::Root),
            };
        };
        if self.whiteouts == Whiteouts::Honoured && name.starts_with(WHITEOUT) {
            return self.whiteout(&path, &parent, name);
        }
        let directory = self.directory(&path, &parent, Missing::Make)?;
        let directory = directory.expect("missing directories are made");
        let node = match kind {
            EntryKind::Directory => {
                if let Some(there) = self.child(directory, name)
                    && self.is_directory(there)
                {
                    self.nodes[there as usize].metadata = metadata;
                    self.put(directory, name, there);
                    return Ok(());
                }
                self.add(metadata, FlatKind::Directory(BTreeMap::new()))?
            }
            EntryKind::HardLink(target) => self.link_target(&path, &target)?,
            EntryKind::Symlink(target) => self.add(metadata, FlatKind::Symlink(target))?,
            EntryKind::Regular(content) => self.other(metadata, NodeKind::Regular(content))?,
            EntryKind::CharacterDevice(device) => {
                self.other(metadata, NodeKind::CharacterDevice(device))?
            }
            EntryKind::BlockDevice(device) => {
                self.other(metadata, NodeKind::BlockDevice(device))?
            }
            EntryKind::Fifo => self.other(metadata, NodeKind::Fifo)?,
        };
        self.put(directory, name, node);
        Ok(())
    }

    /// The tree of everything that still has a name.
    pub fn finish(mut self) -> Tree {
        let mut tree = Tree::new(std::mem::take(&mut self.nodes[ROOT as usize].metadata));
        let mut known: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        known[ROOT as usize] = Some(Tree::ROOT);
        let mut open = vec![(ROOT, Tree::ROOT)];
        while let Some((flat, id)) = open.pop() {
            let FlatKind::Directory(names) = &mut self.nodes[flat as usize].kind else {
                unreachable!("only directories are opened");
            };
            for (name, child) in std::mem::take(names) {
                let index = child.node as usize;
                let node = match known[index] {
                    Some(node) => node,
                    None => {
                        let flat = &mut self.nodes[index];
                        let metadata = std::mem::take(&mut flat.metadata);
                        let kind = match &mut flat.kind {
                            FlatKind::Directory(_) => NodeKind::Directory(Vec::new()),
                            FlatKind::Symlink(target) => NodeKind::Symlink(std::mem::take(target)),
                            FlatKind::Other(kind) => kind.clone(),
                        };
                        let is_directory = matches!(kind, NodeKind::Directory(_));
                        let node = tree.add(Node { metadata, kind });
                        if is_directory {
                            open.push((child.node, node));
                        }
                        known[index] = Some(node);
                        node
                    }
                };
                tree.link(id, name, node);
            }
        }
        tree
    }

    fn whiteout(
        &mut self,
        path: &EntryPath,
        parent: &EntryPath,
        name: &[u8],
    ) -> Result<(), FlattenError> {
        let Some(directory) = self.directory(path, parent, Missing::Leave)? else {
            return Ok(());
        };
        if name == OPAQUE {
            self.remove_lower(directory, None);
            return Ok(());
        }
        if name.starts_with(OTHER_MARKS) {
            return Ok(());
        }
        let target = &name[WHITEOUT.len()..];
        if matches!(target, b"" | b"." | b"..") {
            return Err(FlattenError::Whiteout { path: path.shown() });
        }
        self.remove_lower(directory, Some(target));
        Ok(())
    }

    /// Removes what lower layers put into `directory`, everything or one name. Where this layer
    /// has put something below a directory, the directory stays.
    fn remove_lower(&mut self, directory: NodeIndex, only: Option<&[u8]>) {
        let layer = self.layer;
        let mut open = Vec::new();
        {
            let names = self.names(directory);
            if let Some(name) = only {
                match names.get(name) {
                    Some(there) if there.layer == layer => open.push(there.node),
                    Some(_) => drop(names.remove(name)),
                    None => {}
                }
            } else {
                open.push(directory);
            }
        }
        while let Some(node) = open.pop() {
            if !self.is_directory(node) {
                continue;
            }
            let names = self.names(node);
            names.retain(|_, name| name.layer == layer);
            open.extend(names.values().map(|name| name.node));
        }
    }

    fn link_target(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
    ) -> Result<NodeIndex, FlattenError> {
        let missing = || FlattenError::LinkTarget {
            path: path.shown(),
            target: target.shown(),
        };
        let Some((parent, name)) = target.split_last() else {
            return Err(missing());
        };
        let directory = self
            .directory(path, &parent, Missing::Leave)?
            .ok_or_else(missing)?;
        let node = self.child(directory, name).ok_or_else(missing)?;
        if self.is_directory(node) {
            let (path, target) = (path.shown(), target.shown());
            return Err(FlattenError::LinkToDirectory { path, target });
        }
        Ok(node)
    }

    /// The directory at `path`, through symbolic links. `entry` is who asks, for messages.
    fn directory(
        &mut self,
        entry: &EntryPath,
        path: &EntryPath,
        missing: Missing,
    ) -> Result<Option<NodeIndex>, FlattenError> {
        // What is still to be walked, last name first; a link puts its own target on top.
        let mut ahead: Vec<Box<[u8]>> = path.names().rev().map(Into::into).collect();
        let mut way = vec![ROOT];
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            let at = *way.last().expect("the root is never left");
            if *name == *b".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let layer = self.layer;
            let there = self.names(at).get(&name).copied();
            let replaceable = match there {
                None => true,
                Some(there) => match &self.nodes[there.node as usize].kind {
                    FlatKind::Directory(_) => {
                        if missing == Missing::Make {
                            self.touch(at, &name);
                        }
                        way.push(there.node);
                        continue;
                    }
                    FlatKind::Symlink(target) => {
                        followed += 1;
                        if followed > LINKS_FOLLOWED_MAX {
                            return Err(FlattenError::LinkCircle {
                                path: entry.shown(),
                            });
                        }
                        if target.starts_with(b"/") {
                            way.truncate(1);
                        }
                        let names = target.split(|byte| *byte == b'/').rev();
                        let names = names.filter(|name| !name.is_empty() && *name != b".");
                        ahead.extend(names.map(Into::into));
                        continue;
                    }
                    // What a lower layer had here as a file is a directory from now on.
                    FlatKind::Other(_) => there.layer < layer,
                },
            };
            if missing == Missing::Leave {
                return Ok(None);
            }
            if !replaceable {
                let parent = name.escape_ascii().to_string();
                return Err(FlattenError::NotADirectory {
                    path: entry.shown(),
                    parent,
                });
            }
            let made = self.add(implied_metadata(), FlatKind::Directory(BTreeMap::new()))?;
            self.put(at, &name, made);
            way.push(made);
        }
        Ok(way.pop())
    }

    fn other(&mut self, metadata: Metadata, kind: NodeKind) -> Result<NodeIndex, FlattenError> {
        self.add(metadata, FlatKind::Other(kind))
    }

    /// Counts what an entry makes us remember beside its node.
    fn count(
        &mut self,
        path: &EntryPath,
        kind: &EntryKind,
        metadata: &Metadata,
    ) -> Result<(), FlattenError> {
        let name = path.split_last().map_or(0, |(_, name)| name.len());
        let target = match kind {
            EntryKind::Symlink(target) => target.len(),
            _ => 0,
        };
        let attributes = metadata.attributes.iter();
        let attributes: usize = attributes
            .map(|attribute| attribute.name.len() + attribute.value.len())
            .sum();
        self.text_bytes = self.text_bytes.saturating_add(name + target + attributes);
        if self.text_bytes > self.text_bytes_max {
            return Err(FlattenError::TooMuchText {
                limit_bytes: self.text_bytes_max,
            });
        }
        Ok(())
    }

    fn add(&mut self, metadata: Metadata, kind: FlatKind) -> Result<NodeIndex, FlattenError> {
        if self.nodes.len() == self.nodes_max {
            return Err(FlattenError::TooManyNodes {
                limit: self.nodes_max,
            });
        }
        self.nodes.push(FlatNode { metadata, kind });
        Ok(NodeIndex::try_from(self.nodes.len() - 1).expect("bounded above"))
    }

    fn put(&mut self, directory: NodeIndex, name: &[u8], node: NodeIndex) {
        let layer = self.layer;
        self.names(directory)
            .insert(name.into(), Name { node, layer });
    }

    /// Something below the name belongs to this layer.
    fn touch(&mut self, directory: NodeIndex, name: &[u8]) {
        let layer = self.layer;
        let there = self.names(directory).get_mut(name);
        there.expect("the caller has looked").layer = layer;
    }

    fn child(&mut self, directory: NodeIndex, name: &[u8]) -> Option<NodeIndex> {
        self.names(directory).get(name).map(|name| name.node)
    }

    fn is_directory(&self, node: NodeIndex) -> bool {
        matches!(self.nodes[node as usize].kind, FlatKind::Directory(_))
    }

    fn names(&mut self, directory: NodeIndex) -> &mut BTreeMap<Box<[u8]>, Name> {
        match &mut self.nodes[directory as usize].kind {
            FlatKind::Directory(names) => names,
            FlatKind::Symlink(_) | FlatKind::Other(_) => unreachable!("the caller has looked"),
        }
    }
}

/// What to do about a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

fn implied_metadata() -> Metadata {
    Metadata {
        mode: IMPLIED_DIRECTORY_MODE,
        ..Metadata::default()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
