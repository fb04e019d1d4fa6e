//! Layers become one tree, the tree becomes a disk; the image cache; clones; data disks; VHD.
