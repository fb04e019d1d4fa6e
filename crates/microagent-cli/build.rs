//! Hands the target triple to the program, for `microagent version`; cargo tells it to build scripts
//! only. It reads nothing else and runs nothing.

fn main() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a build script has no other door to what cargo tells it"
    )]
    let target = std::env::var("TARGET").expect("cargo sets TARGET for every build script");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=MICROAGENT_TARGET={target}");
}
