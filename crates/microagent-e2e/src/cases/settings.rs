//! What the caller and the image say about the command and its machine.

use crate::framework::case::{Case, case};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::home::Home;
use microagent_test::image::Tool;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "settings::user_environment_and_folder_are_the_callers",
            callers,
        ),
        case(
            "settings::user_environment_and_folder_are_the_images",
            images,
        ),
        case(
            "settings::a_command_is_the_images_own_when_none_is_given",
            own_command,
        ),
        case(
            "settings::words_behind_the_image_are_the_guests_byte_for_byte",
            words,
        ),
        case(
            "settings::an_unknown_user_is_refused_and_named",
            unknown_user,
        ),
        case("settings::memory_processors_and_disk_are_as_asked", machine),
        case(
            "settings::the_host_is_not_in_the_guest",
            nothing_of_the_host,
        ),
    ]
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn callers(world: &World) -> Result<()> {
    let file = world.home().work_dir().join("env");
    std::fs::write(&file, "# comment\nFROM_FILE=in a file\nBOTH=file\n")?;
    let path = file.display().to_string();
    let finished = world
        .guest()?
        .flags(&["--env-file", &path, "-e", "BOTH=flag", "-e", "PASSED", "-e", "EMPTY="])
        .flags(&["--user", "www-data", "--workdir", "/made/for/it", "--hostname", "some-host"])
        .host_env("PASSED", "from the host")
        .shell("id -un; id -gn; pwd; echo \"$FROM_FILE|$BOTH|$PASSED|$EMPTY|$HOME|$USER\"; hostname; echo $IMAGE_SAYS")
        .run();
    std::fs::remove_file(&file)?;
    let finished = finished?.expect_code(0)?;
    let text = finished.stdout_text();
    let expected = [
        "www-data",
        "www-data",
        "/made/for/it",
        "in a file|flag|from the host||/var/www|www-data",
        "some-host",
        "hello",
    ];
    ensure!(lines(&text) == expected, "{text}");
    let numbers = world
        .guest()?
        .flags(&["-u", "1234:5678"])
        .shell("id -u; id -g; id -G")
        .ends_with(0)?;
    ensure!(
        lines(&numbers.stdout_text()) == ["1234", "5678", "5678"],
        "{}",
        numbers.stdout_text()
    );
    Ok(())
}

/// The Debian image with another configuration, under another tag of a copy of its layout.
fn configured(world: &World, home: &Home, config: &[&str]) -> Result<String> {
    let layout = home.work_dir().join("layout");
    Tool::new("cp")
        .arg("-a")
        .arg(world.debian()?.layout())
        .arg(&layout)
        .ok()?;
    Tool::new("umoci")
        .args(["config", "--image"])
        .arg(format!("{}:latest", layout.display()))
        .args(["--tag", "configured"])
        .args(config)
        .ok()?;
    Ok(format!("oci:{}:configured", layout.display()))
}

fn images(world: &World) -> Result<()> {
    let home = Home::new()?;
    let image = configured(
        world,
        &home,
        &[
            "--config.user=games:mail",
            "--config.workingdir=/var/games-of-old",
            "--config.env=TITLE=a title = with it",
            "--config.entrypoint=sh",
            "--config.entrypoint=-c",
            "--config.cmd=id -un; id -gn; pwd; echo \"$TITLE\"; echo \"$IMAGE_SAYS\"",
        ],
    )?;
    let text = world.guest_of(&image).ends_with(0)?.stdout_text();
    let expected = [
        "games",
        "mail",
        "/var/games-of-old",
        "a title = with it",
        "hello",
    ];
    ensure!(lines(&text) == expected, "{text}");
    // Words of the caller take the place of the image's arguments and keep its entrypoint.
    let text = world
        .guest_of(&image)
        .command(&["echo $TITLE; id -un"])
        .ends_with(0)?
        .stdout_text();
    ensure!(lines(&text) == ["a title = with it", "games"], "{text}");
    let text = world
        .guest_of(&image)
        .flags(&["--entrypoint", "printf", "-u", "root"])
        .command(&["%s-%s", "a", "b"])
        .ends_with(0)?
        .stdout_text();
    ensure!(text == "a-b", "{text}");
    Ok(())
}

fn own_command(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .flags(&["-i"])
        .stdin("echo from the shell of the image; exit 6\n")
        .ends_with(6)?;
    ensure!(
        finished.stdout == b"from the shell of the image\n",
        "{}",
        finished.stdout_text()
    );
    Ok(())
}

fn words(world: &World) -> Result<()> {
    let odd = [
        "a b", "", "--json", "-i", "--", "$HOME", "*", "quote'\"", "ä",
    ];
    let script = "import sys; sys.stdout.buffer.write(b'\\0'.join(map(__import__('os').fsencode, sys.argv[1:])))";
    let finished = world
        .guest()?
        .command(&["python3", "-c", script])
        .command(&odd)
        .ends_with(0)?;
    ensure!(
        finished.stdout == odd.join("\0").as_bytes(),
        "{}",
        finished.stdout_text()
    );
    Ok(())
}

fn unknown_user(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .flags(&["--json", "-u", "nobody-we-know"])
        .command(&["true"])
        .run()?;
    let told = finished.stdout_text();
    ensure!(
        finished.code == Some(125) || finished.code == Some(126),
        "{told}"
    );
    ensure!(told.contains("nobody-we-know"), "{told}");
    Ok(())
}

fn machine(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .flags(&["--memory", "384M", "--cpus", "1", "--disk-size", "3G"])
        .shell("nproc; awk '/MemTotal/ {print $2}' /proc/meminfo; df --output=size --block-size=1M / | tail -n 1")
        .ends_with(0)?;
    let text = finished.stdout_text();
    let numbers: Vec<u64> = text
        .lines()
        .map(|line| line.trim().parse().with_context(|| text.clone()))
        .collect::<Result<_>>()?;
    let [processors, memory_kib, disk_mib] = numbers[..] else {
        anyhow::bail!("{text}");
    };
    ensure!(processors == 1, "{text}");
    ensure!((300 * 1024..=384 * 1024).contains(&memory_kib), "{text}");
    ensure!((2700..=3072).contains(&disk_mib), "{text}");
    Ok(())
}

fn nothing_of_the_host(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .host_env("SECRET_OF_THE_HOST", "visible")
        .shell("env; cat /proc/cmdline; ls /; cat /proc/1/comm; uname -r")
        .ends_with(0)?;
    let text = finished.stdout_text();
    let home = world.home().path().display().to_string();
    ensure!(!text.contains("visible") && !text.contains(&home), "{text}");
    let host_kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure!(
        !text.contains(host_kernel.trim()),
        "the guest runs the host's kernel: {text}"
    );
    Ok(())
}
