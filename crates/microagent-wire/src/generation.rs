//! The one number that says which messages a guest and a host have in common.
//!
//! Fields are only ever added. The number rises when an old peer would misread a message; both sides
//! then speak the lower of their two.

/// What this release speaks.
pub const GENERATION: u32 = 1;
/// The oldest peer this release speaks with.
pub const GENERATION_MIN: u32 = 1;

/// The generation two peers speak; `None` when they have none in common.
pub fn common(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let (ours_min, ours) = ours;
    let (theirs_min, theirs) = theirs;
    let spoken = ours.min(theirs);
    (spoken >= ours_min && spoken >= theirs_min).then_some(spoken)
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn the_lower_generation_is_spoken_unless_it_is_too_old() {
        assert_eq!(common((1, 1), (1, 1)), Some(1));
        assert_eq!(common((1, 3), (2, 2)), Some(2));
        assert_eq!(common((2, 3), (1, 1)), None);
        assert_eq!(common((1, 1), (2, 3)), None);
    }
}
