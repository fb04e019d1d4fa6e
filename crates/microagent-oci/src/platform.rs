//! Which image of an index is the guest's.

use microagent_types::Arch;

use crate::manifest::Descriptor;

/// The one operating system that boots here.
pub(crate) const OS: &str = "linux";

/// What there is, for a message: `linux/amd64`, sorted, each once.
pub(crate) fn names<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> Vec<String> {
    let mut names: Vec<String> = descriptors
        .into_iter()
        .filter(|descriptor| !descriptor.is_attestation())
        .map(|descriptor| match &descriptor.platform {
            Some(platform) => {
                let os = platform.os.escape_debug();
                let architecture = platform.architecture.escape_debug();
                match &platform.variant {
                    Some(variant) => format!("{os}/{architecture}/{}", variant.escape_debug()),
                    None => format!("{os}/{architecture}"),
                }
            }
            None => "unknown".to_owned(),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The first descriptor for `wanted`; one that names no platform stands for any when it is alone.
pub(crate) fn choose<'a>(descriptors: &[&'a Descriptor], wanted: Arch) -> Option<&'a Descriptor> {
    let fits = |descriptor: &&&Descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == OS && platform.architecture == wanted.as_str())
    };
    match descriptors {
        [only] if only.platform.is_none() => Some(only),
        _ => descriptors.iter().find(fits).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(json: &str) -> Vec<Descriptor> {
        serde_json::from_str(json).unwrap()
    }

    const TWO: &str = r#"[
        {"mediaType":"m","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","size":1,
         "platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
        {"mediaType":"m","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000002","size":1,
         "platform":{"os":"windows","architecture":"amd64"}},
        {"mediaType":"m","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000003","size":1,
         "platform":{"os":"unknown","architecture":"unknown"}}]"#;

    #[test]
    fn the_variant_for_the_guest_is_taken_and_nothing_else() {
        let all = descriptors(TWO);
        let all: Vec<_> = all.iter().collect();
        assert_eq!(choose(&all, Arch::Arm64), Some(all[0]));
        assert_eq!(choose(&all, Arch::Amd64), None);
        assert_eq!(names(all), ["linux/arm64/v8", "windows/amd64"]);
    }
}
