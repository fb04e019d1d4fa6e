//! What a VM boots: find, fetch and prove kernels; find the initramfs.
