//! Any text as a reference: what is taken says itself again, and the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microagent_types::{ImageRef, ImageSource};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<ImageRef>() {
        let said = reference.to_string();
        assert_eq!(said.parse::<ImageRef>().as_ref(), Ok(&reference), "{said}");
    }
    if let Ok(source) = text.parse::<ImageSource>() {
        let said = source.to_string();
        assert_eq!(said.parse::<ImageSource>().as_ref(), Ok(&source), "{said}");
    }
});
