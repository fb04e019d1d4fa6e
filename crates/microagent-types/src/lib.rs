//! Parsed names, ids, digests, ports, sizes, paths; every environment variable we read.
