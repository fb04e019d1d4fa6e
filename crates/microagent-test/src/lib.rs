//! Harness: temporary home, fake backend and guest, image maker, filters.
