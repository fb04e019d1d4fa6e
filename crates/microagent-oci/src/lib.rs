//! Image sources: registry, OCI layout and archive, `docker save`, tarball; layers as checked streams.
