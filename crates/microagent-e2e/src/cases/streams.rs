//! Standard streams and JSON: the command lines of the README, to the letter.

use crate::framework::case::{Case, case};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};

/// Every byte value, in an order that no text has, a few times over.
fn every_byte() -> Vec<u8> {
    (0..2048_u32)
        .map(|index| index.wrapping_mul(167).to_le_bytes()[0])
        .collect()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("streams::python_prints_42", python),
        case(
            "streams::both_streams_stay_apart_and_the_code_is_the_guests",
            apart,
        ),
        case("streams::stdin_reaches_the_guest", stdin),
        case("streams::without_i_the_guest_reads_end_of_file", no_stdin),
        case("streams::every_byte_value_passes_both_ways", binary),
        case(
            "streams::output_without_a_line_feed_arrives_as_it_is",
            no_line_feed,
        ),
        case("streams::json_is_one_document", json),
        case(
            "streams::bytes_that_are_no_text_are_base64_in_a_document",
            json_binary,
        ),
        case(
            "streams::output_beyond_the_limit_is_counted_and_dropped",
            json_limit,
        ),
        case(
            "streams::what_the_guest_prints_last_is_not_lost",
            last_words,
        ),
        case("streams::a_reader_that_goes_away_is_code_141", closed_pipe),
        case("streams::a_tty_needs_a_terminal", tty_refused),
    ]
}

fn python(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .command(&["python3", "-c", "print(6*7)"])
        .ends_with(0)?;
    ensure!(finished.stdout == b"42\n", "{:?}", finished.stdout_text());
    ensure!(finished.stderr.is_empty(), "{:?}", finished.stderr_text());
    Ok(())
}

fn apart(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .shell("echo out; echo err >&2; exit 3")
        .ends_with(3)?;
    ensure!(finished.stdout == b"out\n", "{:?}", finished.stdout_text());
    ensure!(finished.stderr == b"err\n", "{:?}", finished.stderr_text());
    Ok(())
}

fn stdin(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .flags(&["-i"])
        .command(&["tr", "a-z", "A-Z"])
        .stdin("hello\n")
        .ends_with(0)?;
    ensure!(
        finished.stdout == b"HELLO\n",
        "{:?}",
        finished.stdout_text()
    );
    Ok(())
}

fn no_stdin(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .shell("cat; echo end")
        .stdin("not for the guest")
        .ends_with(0)?;
    ensure!(finished.stdout == b"end\n", "{:?}", finished.stdout_text());
    Ok(())
}

fn binary(world: &World) -> Result<()> {
    let bytes = every_byte();
    let finished = world
        .guest()?
        .flags(&["-i"])
        .shell("tee /dev/stderr")
        .stdin(bytes.clone())
        .ends_with(0)?;
    ensure!(finished.stdout == bytes, "stdout differs");
    ensure!(finished.stderr == bytes, "stderr differs");
    Ok(())
}

fn no_line_feed(world: &World) -> Result<()> {
    let finished = world.guest()?.shell("printf '\\n\\nx'").ends_with(0)?;
    ensure!(finished.stdout == b"\n\nx", "{:?}", finished.stdout_text());
    Ok(())
}

fn json(world: &World) -> Result<()> {
    let archive = format!("oci-archive:{}", world.debian()?.oci_archive().display());
    let finished = world
        .guest_of(&archive)
        .flags(&["--json"])
        .command(&["true"])
        .ends_with(0)?;
    let document = finished.json()?;
    ensure!(document["outcome"] == "exited", "{document}");
    ensure!(document["exitCode"] == 0, "{document}");
    ensure!(
        document["stdout"] == "" && document["stderr"] == "",
        "{document}"
    );
    ensure!(document["kept"] == false, "{document}");
    ensure!(document["error"].is_null(), "{document}");
    let digest = document["image"]["digest"].as_str().unwrap_or_default();
    ensure!(digest.starts_with("sha256:"), "{document}");
    ensure!(document["timings"]["totalMs"].is_u64(), "{document}");
    let second = world
        .guest()?
        .flags(&["--json"])
        .shell("echo out; echo err >&2; exit 3")
        .ends_with(3)?
        .json()?;
    ensure!(second["exitCode"] == 3, "{second}");
    ensure!(
        second["stdout"] == "out\n" && second["stderr"] == "err\n",
        "{second}"
    );
    ensure!(
        second["stdoutBytes"] == 4 && second["stdoutTruncated"] == false,
        "{second}"
    );
    ensure!(second["stdoutEncoding"] == "utf8", "{second}");
    Ok(())
}

fn json_binary(world: &World) -> Result<()> {
    let document = world
        .guest()?
        .flags(&["--json"])
        .shell("printf '\\377\\000a'; printf text >&2")
        .ends_with(0)?
        .json()?;
    ensure!(document["stdoutEncoding"] == "base64", "{document}");
    ensure!(document["stdout"] == "/wBh", "{document}");
    ensure!(document["stderrEncoding"] == "utf8", "{document}");
    ensure!(document["stderr"] == "text", "{document}");
    Ok(())
}

fn json_limit(world: &World) -> Result<()> {
    let document = world
        .guest()?
        .flags(&["--json", "--output-limit", "1K"])
        .shell("head -c 5000 /dev/zero | tr '\\0' x; echo short >&2")
        .ends_with(0)?
        .json()?;
    let kept = document["stdout"].as_str().context("stdout is text")?;
    ensure!(kept == "x".repeat(1024), "{} bytes kept", kept.len());
    ensure!(document["stdoutBytes"] == 5000, "{document}");
    ensure!(document["stdoutTruncated"] == true, "{document}");
    ensure!(document["stderr"] == "short\n", "{document}");
    ensure!(document["stderrTruncated"] == false, "{document}");
    Ok(())
}

/// The end of a VM right behind the last byte must not swallow it.
fn last_words(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .shell("head -c 300000 /dev/zero | tr '\\0' y; printf last >&2; exit 9")
        .ends_with(9)?;
    ensure!(
        finished.stdout.len() == 300_000,
        "{} bytes",
        finished.stdout.len()
    );
    ensure!(finished.stderr == b"last");
    Ok(())
}

fn closed_pipe(world: &World) -> Result<()> {
    let program = world.prefix().join("bin/microagent");
    let line = format!(
        "{} run {} -- sh -c 'yes || true; sleep 60' | head -n 1; echo ${{PIPESTATUS[0]}}",
        program.display(),
        world.debian_source()?
    );
    let finished = microagent_test::cli::Program::at("/bin/bash")
        .of(world.home())
        .args(["-c", &line])
        .limit(world.limit(std::time::Duration::from_secs(30)))
        .run()?;
    ensure!(
        finished.stdout == b"y\n141\n",
        "{:?} {:?}",
        finished.stdout_text(),
        finished.stderr_text()
    );
    Ok(())
}

fn tty_refused(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .flags(&["-t"])
        .command(&["true"])
        .ends_with(2)?;
    let text = finished.stderr_text();
    ensure!(
        text.starts_with("error: --tty needs a terminal on stdin\n"),
        "{text}"
    );
    ensure!(finished.stdout.is_empty());
    Ok(())
}
