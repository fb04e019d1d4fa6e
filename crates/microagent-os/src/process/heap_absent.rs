//! What this process's heap keeps, where the C library can't be asked; its sibling has the same names.

/// Does nothing: how many heaps there are is the C library's own affair.
pub(super) fn share() {}

/// Does nothing: what is free goes back when the C library sees fit.
pub(super) fn trim() {}
