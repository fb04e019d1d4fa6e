//! Entries in, an ext4 image out, onto any positioned sink.
