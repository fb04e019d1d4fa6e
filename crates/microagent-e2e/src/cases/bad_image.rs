//! Images that are missing, broken or hostile: a clear error of the right kind, code 125, and not one
//! byte left in the state directory. No VM is started for any of them.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::home::Home;
use microagent_test::image::{Flaw, Image, Layer, Packing};
use std::path::PathBuf;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("bad_image::what_is_not_there_is_not_found", missing),
        case("bad_image::a_damaged_image_is_an_integrity_error", damaged),
        case(
            "bad_image::an_image_for_another_processor_is_refused",
            other_architecture,
        ),
        case(
            "bad_image::paths_that_leave_the_root_are_refused",
            hostile_paths,
        ),
        case(
            "bad_image::a_file_that_is_no_archive_is_named_so",
            no_archive,
        ),
        case(
            "bad_image::a_word_that_looks_like_a_file_gets_a_hint",
            looks_like_a_file,
        ),
        case(
            "bad_image::an_image_without_a_command_needs_one",
            no_command,
        ),
        case("bad_image::after_all_that_the_next_run_works", next_works),
    ]
}

fn payload() -> Layer {
    // Noise, so that no half of the blob is like the other and nothing compresses to a few bytes.
    let noise: Vec<u8> = (0..60_000_u32)
        .map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect();
    Layer::new()
        .folder("bin", 0o755)
        .file("bin/noise", 0o755, &noise)
}

fn refused(world: &World, home: &Home, source: &str, kind: &str) -> Result<String> {
    let finished = world
        .guest_in(home, source)
        .flags(&["--json"])
        .command(&["true"])
        .run()?;
    let told = check::failed_with(finished, kind).with_context(|| format!("running `{source}`"))?;
    check::holds_nothing(&home.state_listing()).with_context(|| format!("after `{source}`"))?;
    check::nothing_left(world, home)?;
    Ok(told)
}

fn missing(world: &World) -> Result<()> {
    let home = Home::new()?;
    for source in [
        "oci:./nowhere".to_owned(),
        "oci-archive:nowhere.tar".to_owned(),
        "docker-archive:nowhere.tar".to_owned(),
        "rootfs:nowhere.tar".to_owned(),
        format!("{}:no-such-tag", world.debian_source()?),
        format!(
            "oci-archive:{}:no-such-tag",
            world.debian()?.oci_archive().display()
        ),
    ] {
        let told = refused(world, &home, &source, "not_found")?;
        ensure!(told.contains("no"), "{told}");
    }
    Ok(())
}

fn damaged(world: &World) -> Result<()> {
    let home = Home::new()?;
    for flaw in [
        Flaw::LayerByteFlipped,
        Flaw::LayerTruncated,
        Flaw::LayerMissing,
        Flaw::DiffIdWrong,
        Flaw::ManifestBroken,
        Flaw::IndexBroken,
    ] {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let name = format!("{flaw:?}-{packing:?}");
            let made = || {
                Image::new()
                    .layer(Layer::new().folder("etc", 0o755))
                    .layer(payload().packed(packing))
                    .flaw(flaw)
            };
            let layout = home.work_dir().join(&name);
            made().write_layout(&layout)?;
            refused(
                world,
                &home,
                &format!("oci:{}", layout.display()),
                "integrity",
            )?;
            let archive = home.work_dir().join(format!("{name}.tar"));
            made().write_oci_archive(&archive)?;
            let source = format!("oci-archive:{}", archive.display());
            refused(world, &home, &source, "integrity")?;
        }
    }
    Ok(())
}

fn other_architecture(world: &World) -> Result<()> {
    let home = Home::new()?;
    let layout = home.work_dir().join("layout");
    Image::new()
        .layer(payload())
        .flaw(Flaw::OtherArchitecture)
        .write_layout(&layout)?;
    let finished = world
        .guest_in(&home, &format!("oci:{}", layout.display()))
        .flags(&["--json"])
        .command(&["true"])
        .run()?
        .expect_code(check::FAILED)?;
    let text = finished.stdout_text();
    ensure!(
        text.contains("riscv64"),
        "what there is should be named: {text}"
    );
    check::holds_nothing(&home.state_listing())
}

fn hostile_paths(world: &World) -> Result<()> {
    let home = Home::new()?;
    let outside = home.work_dir().join("outside");
    let absolute = format!("{}/written", home.work_dir().display());
    let layers: [(&str, Layer); 5] = [
        ("upwards", payload().file_named_raw(b"../outside", b"x")),
        (
            "upwards-inside",
            payload().file_named_raw(b"bin/../../outside", b"x"),
        ),
        (
            "absolute",
            payload().file_named_raw(absolute.as_bytes(), b"x"),
        ),
        (
            "link-upwards",
            payload().hard_link("bin/link", "../../../etc/passwd"),
        ),
        (
            "below-a-file",
            payload().file("bin/noise/below", 0o644, b"x"),
        ),
    ];
    for (name, layer) in layers {
        let layout: PathBuf = home.work_dir().join(name);
        Image::new().layer(layer).write_layout(&layout)?;
        refused(
            world,
            &home,
            &format!("oci:{}", layout.display()),
            "integrity",
        )
        .with_context(|| name.to_owned())?;
    }
    ensure!(!outside.exists(), "a layer wrote outside");
    ensure!(
        !PathBuf::from(absolute).exists(),
        "a layer wrote to an absolute path"
    );
    Ok(())
}

fn no_archive(world: &World) -> Result<()> {
    let home = Home::new()?;
    let file = home.work_dir().join("text.tar");
    std::fs::write(&file, "this is no archive\n".repeat(100))?;
    for form in ["oci-archive", "docker-archive", "rootfs"] {
        let document = world
            .guest_in(&home, &format!("{form}:{}", file.display()))
            .flags(&["--json"])
            .command(&["true"])
            .run()?
            .json()?;
        // A wrong form is the caller's mistake, damage is the file's.
        let kind = document["error"]["kind"].as_str().unwrap_or_default();
        ensure!(["usage", "integrity"].contains(&kind), "{document}");
        ensure!(document.to_string().contains("text.tar"), "{document}");
        check::holds_nothing(&home.state_listing())?;
    }
    Ok(())
}

fn looks_like_a_file(world: &World) -> Result<()> {
    for word in ["./image", "/tmp/image", "image.tar"] {
        let finished = world.guest_of(word).command(&["true"]).ends_with(2)?;
        let text = finished.stderr_text();
        ensure!(text.contains("hint:") && text.contains("oci"), "{text}");
    }
    Ok(())
}

fn no_command(world: &World) -> Result<()> {
    let home = Home::new()?;
    let layout = home.work_dir().join("layout");
    Image::new().layer(payload()).write_layout(&layout)?;
    let finished = world
        .guest_in(&home, &format!("oci:{}", layout.display()))
        .flags(&["--json"])
        .run()?
        .expect_code(2)?;
    let document = finished.json()?;
    ensure!(document["error"]["kind"] == "usage", "{document}");
    check::nothing_left(world, &home)
}

fn next_works(world: &World) -> Result<()> {
    let home = Home::new()?;
    let broken = home.work_dir().join("broken");
    Image::new()
        .layer(payload())
        .flaw(Flaw::LayerByteFlipped)
        .write_layout(&broken)?;
    refused(
        world,
        &home,
        &format!("oci:{}", broken.display()),
        "integrity",
    )?;
    let finished = world
        .guest_in(&home, &world.debian_source()?)
        .command(&["echo", "works"])
        .ends_with(0)?;
    ensure!(finished.stdout == b"works\n");
    check::nothing_left(world, &home)
}
