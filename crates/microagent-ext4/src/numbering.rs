//! Walks the tree once: which nodes have names, in which order, with how many links.
//!
//! The order is that of a walk by sorted names, so it follows from the tree alone and not from the
//! order in which layers brought its parts.

use crate::{
    image::{ImageError, LINKS_MAX, NAME_BYTES_MAX, SYMLINK_BYTES_MAX},
    tree::{NameId, NodeId, NodeKind, Tree},
};

/// The first number that is free for nodes.
pub(crate) const FIRST_INODE: u32 = 11;
/// The root directory's number.
pub(crate) const ROOT_INODE: u32 = 2;
/// The directory that a file system check puts finds into.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// One node that has a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered {
    pub(crate) node: NodeId,
    /// The directory that names it first.
    pub(crate) parent: NodeId,
}

/// Every node that has a name.
#[derive(Debug)]
pub(crate) struct Numbering {
    /// In the order of their numbers; the root comes first.
    pub(crate) order: Vec<Numbered>,
    numbers: Vec<u32>,
    links: Vec<u32>,
    /// Whether the tree brings a `lost+found` of its own.
    pub(crate) has_lost_and_found: bool,
}

impl Numbering {
    /// Walks `tree` and checks what ext4 can't hold.
    pub(crate) fn new(tree: &Tree) -> Result<Self, ImageError> {
        let mut numbering = Self {
            order: vec![Numbered {
                node: Tree::ROOT,
                parent: Tree::ROOT,
            }],
            numbers: vec![0; tree.len()],
            links: vec![0; tree.len()],
            has_lost_and_found: false,
        };
        numbering.numbers[Tree::ROOT.index()] = ROOT_INODE;
        numbering.links[Tree::ROOT.index()] = 2;
        let lost_and_found = tree.find(Tree::ROOT, LOST_AND_FOUND);
        numbering.has_lost_and_found =
            lost_and_found.is_some_and(|name| tree.named(name).is_some());
        // One number is for the directory that we add.
        let mut next = FIRST_INODE + u32::from(!numbering.has_lost_and_found);
        if !numbering.has_lost_and_found {
            numbering.links[Tree::ROOT.index()] += 1;
        }
        let mut open = vec![(Tree::ROOT, sorted(tree, Tree::ROOT).into_iter())];
        let mut before: Vec<Option<&[u8]>> = vec![None];
        while let Some((directory, entries)) = open.last_mut() {
            let directory = *directory;
            let Some(name) = entries.next() else {
                open.pop();
                before.pop();
                continue;
            };
            let id = tree.named(name).expect("it was listed with its node");
            let name = tree.text(name);
            let index = id.index();
            let path = || path_of(&open_names(&open, tree), name);
            check_name(name, &path)?;
            if before
                .last_mut()
                .expect("as deep as the walk")
                .replace(name)
                == Some(name)
            {
                return Err(ImageError::DuplicateName { path: path() });
            }
            let is_directory = tree.is_directory(id);
            if is_directory && numbering.numbers[index] != 0 {
                return Err(ImageError::DirectoryLinkedTwice { path: path() });
            }
            if let NodeKind::Symlink(target) = tree.kind(id)
                && !(1..=SYMLINK_BYTES_MAX).contains(&target.len())
            {
                return Err(ImageError::SymlinkLength {
                    path: path(),
                    bytes: target.len(),
                });
            }
            numbering.links[index] += 1 + u32::from(is_directory);
            if !is_directory && numbering.links[index] > LINKS_MAX {
                return Err(ImageError::TooManyLinks {
                    path: path(),
                    links: numbering.links[index],
                });
            }
            if numbering.numbers[index] != 0 {
                continue;
            }
            numbering.numbers[index] = next;
            next = next.checked_add(1).ok_or(ImageError::TooManyNodes {
                nodes: tree.len() as u64,
            })?;
            numbering.order.push(Numbered {
                node: id,
                parent: directory,
            });
            if is_directory {
                numbering.links[directory.index()] += 1;
                open.push((id, sorted(tree, id).into_iter()));
                before.push(None);
            }
        }
        Ok(numbering)
    }

    /// The inode number of a node that has a name.
    pub(crate) fn number(&self, node: NodeId) -> u32 {
        self.numbers[node.index()]
    }

    /// How many inodes are in use, the reserved ones included.
    pub(crate) fn inodes(&self) -> u32 {
        let named = u32::try_from(self.order.len()).expect("numbers are 32 bits") - 1;
        FIRST_INODE - 1 + named + u32::from(!self.has_lost_and_found)
    }

    /// The link count as an inode holds it: a directory with more than it can count says 1.
    pub(crate) fn links(&self, node: NodeId) -> u16 {
        let links = self.links[node.index()];
        if links > LINKS_MAX {
            1
        } else {
            u16::try_from(links).expect("at most 65000")
        }
    }
}

/// The names of a directory in the order of their bytes.
pub(crate) fn sorted(tree: &Tree, directory: NodeId) -> Vec<NameId> {
    let mut names: Vec<NameId> = tree.names(directory).collect();
    names.sort_unstable_by_key(|name| tree.text(*name));
    names
}

/// A path of a node for a message: looked for only when there is something to say.
pub(crate) fn describe(tree: &Tree, numbering: &Numbering, id: NodeId) -> String {
    let mut parents = std::collections::HashMap::new();
    for numbered in &numbering.order {
        parents.insert(numbered.node, numbered.parent);
    }
    let mut names: Vec<&[u8]> = Vec::new();
    let mut at = id;
    while at != Tree::ROOT {
        let parent = parents[&at];
        names.push(name_of(tree, parent, at));
        at = parent;
    }
    names.reverse();
    path_of(&names, b"")
}

/// The names of a directory that are still to be visited.
type Walk = std::vec::IntoIter<NameId>;

/// The names of the directories that are open below the root.
fn open_names<'a>(open: &[(NodeId, Walk)], tree: &'a Tree) -> Vec<&'a [u8]> {
    open.windows(2)
        .map(|pair| name_of(tree, pair[0].0, pair[1].0))
        .collect()
}

/// The first name, in the order of their bytes, that `directory` has for `node`.
fn name_of(tree: &Tree, directory: NodeId, node: NodeId) -> &[u8] {
    let names = tree.names(directory);
    names
        .filter(|name| tree.named(*name) == Some(node))
        .map(|name| tree.text(name))
        .min()
        .expect("its directory names it")
}

fn path_of(directories: &[&[u8]], name: &[u8]) -> String {
    let mut path = String::new();
    for part in directories
        .iter()
        .copied()
        .chain((!name.is_empty()).then_some(name))
    {
        path.push('/');
        path.push_str(&part.escape_ascii().to_string());
    }
    if path.is_empty() {
        "/".to_owned()
    } else {
        path
    }
}

fn check_name(name: &[u8], path: &dyn Fn() -> String) -> Result<(), ImageError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && !name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b".." {
        Ok(())
    } else {
        Err(ImageError::InvalidName { path: path() })
    }
}
