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

use microagent_ext4::{Metadata, NameId, Node, NodeId, NodeKind, Tree, tree};
use thiserror::Error;

use crate::entry::{EntryKind, EntryPath, LayerEntry};

/// As many symbolic links as the kernel follows in one path.
const LINKS_FOLLOWED_MAX: usize = 40;
/// How much may be remembered of an image: a million files whose names have a dozen letters, as each
/// takes some [`FILE_BYTES`] and its name. Replaced entries count too. It keeps the whole process below
/// 128 MiB.
pub const INDEX_BYTES_MAX: usize = 100 << 20;
/// What is kept of a node beside the tree's own: its content's place and length, its number, its count
/// of links, its turn, and in which layer its directory was emptied.
const NODE_BESIDE_BYTES: usize = 42;
/// What is kept of a name beside the tree's own: its layer.
const NAME_BESIDE_BYTES: usize = 2;
/// What a file with one name takes beside the letters of the name.
pub const FILE_BYTES: usize =
    tree::NODE_BYTES + NODE_BESIDE_BYTES + tree::NAME_BYTES + NAME_BESIDE_BYTES;
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
    /// More to remember than there may be.
    #[error(
        "the image has too many files: names and places of about a million fit into {} MiB",
        limit_bytes >> 20
    )]
    IndexFull {
        /// How much may be remembered.
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

/// Layers that have been laid on one another so far.
#[derive(Debug)]
pub struct Flattening {
    tree: Tree,
    /// The layer that last had to do with a name.
    touched: Vec<u16>,
    /// The layer that last emptied a directory of what lower ones put there; 0 for none.
    emptied: Vec<u16>,
    layer: u16,
    whiteouts: Whiteouts,
    index_bytes_max: usize,
}

impl Flattening {
    /// An empty root, before the first layer.
    pub fn new(whiteouts: Whiteouts) -> Self {
        Self {
            tree: Tree::new(implied_metadata()),
            touched: Vec::new(),
            emptied: vec![0],
            layer: 0,
            whiteouts,
            index_bytes_max: INDEX_BYTES_MAX,
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
        self.check_room()?;
        let Some((parent, name)) = path.split_last() else {
            return match kind {
                EntryKind::Directory => {
                    self.tree.describe(Tree::ROOT, metadata);
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
                    && self.tree.is_directory(there)
                {
                    self.tree.describe(there, metadata);
                    self.put(directory, name, there);
                    return Ok(());
                }
                self.add(metadata, NodeKind::Directory)
            }
            EntryKind::HardLink(target) => self.link_target(&path, &target)?,
            EntryKind::Symlink(target) => self.add(metadata, NodeKind::Symlink(&target)),
            EntryKind::Regular(content) => self.add(metadata, NodeKind::Regular(content)),
            EntryKind::CharacterDevice(device) => {
                self.add(metadata, NodeKind::CharacterDevice(device))
            }
            EntryKind::BlockDevice(device) => self.add(metadata, NodeKind::BlockDevice(device)),
            EntryKind::Fifo => self.add(metadata, NodeKind::Fifo),
        };
        self.put(directory, name, node);
        Ok(())
    }

    /// The tree; what has no name any more is in it without one.
    pub fn finish(self) -> Tree {
        self.tree
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
    fn remove_lower(&mut self, directory: NodeId, only: Option<&[u8]>) {
        let mut open = Vec::new();
        if let Some(name) = only {
            let there = self.tree.find(directory, name);
            let Some((name, node)) = there.and_then(|name| Some((name, self.tree.named(name)?)))
            else {
                return;
            };
            if self.touched[name.index()] == self.layer {
                open.push(node);
            } else {
                self.tree.relink(name, None);
            }
        } else {
            open.push(directory);
        }
        while let Some(node) = open.pop() {
            // What was emptied in this layer holds nothing lower since; so many marks cost no more
            // than one.
            if self.emptied[node.index()] == self.layer || !self.tree.is_directory(node) {
                continue;
            }
            self.emptied[node.index()] = self.layer;
            let names: Vec<NameId> = self.tree.names(node).collect();
            for name in names {
                if self.touched[name.index()] == self.layer {
                    open.extend(self.tree.named(name));
                } else {
                    self.tree.relink(name, None);
                }
            }
        }
    }

    fn link_target(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
    ) -> Result<NodeId, FlattenError> {
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
        if self.tree.is_directory(node) {
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
    ) -> Result<Option<NodeId>, FlattenError> {
        // What is still to be walked, last name first; a link puts its own target on top.
        let mut ahead: Vec<Box<[u8]>> = path.names().rev().map(Into::into).collect();
        let mut way = vec![Tree::ROOT];
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            let at = *way.last().expect("the root is never left");
            if *name == *b".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let there = self.tree.find(at, &name);
            let there = there.and_then(|name| Some((name, self.tree.named(name)?)));
            let replaceable = match there {
                None => true,
                Some((there, node)) => match self.tree.kind(node) {
                    NodeKind::Directory => {
                        if missing == Missing::Make {
                            // Something below the name belongs to this layer.
                            self.touched[there.index()] = self.layer;
                        }
                        way.push(node);
                        continue;
                    }
                    NodeKind::Symlink(target) => {
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
                    _ => self.touched[there.index()] < self.layer,
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
            self.check_room()?;
            let made = self.add(implied_metadata(), NodeKind::Directory);
            self.put(at, &name, made);
            way.push(made);
        }
        Ok(way.pop())
    }

    /// Refuses to remember more than may be.
    fn check_room(&self) -> Result<(), FlattenError> {
        let held = self.tree.held_bytes()
            + self.tree.len() * NODE_BESIDE_BYTES
            + self.touched.len() * NAME_BESIDE_BYTES;
        if held > self.index_bytes_max {
            return Err(FlattenError::IndexFull {
                limit_bytes: self.index_bytes_max,
            });
        }
        Ok(())
    }

    fn add(&mut self, metadata: Metadata, kind: NodeKind<'_>) -> NodeId {
        self.emptied.push(0);
        self.tree.add(Node { metadata, kind })
    }

    fn put(&mut self, directory: NodeId, name: &[u8], node: NodeId) {
        if let Some(there) = self.tree.find(directory, name) {
            self.tree.relink(there, Some(node));
            self.touched[there.index()] = self.layer;
        } else {
            self.tree.link(directory, name, node);
            self.touched.push(self.layer);
        }
    }

    fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.tree.named(self.tree.find(directory, name)?)
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
