//! The state directory: paths, records, lock, lease, the event chain.
