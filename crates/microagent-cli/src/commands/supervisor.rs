//! `supervisor`: one request from stdin to the supervisor, its response to stdout, nothing added.

use std::io::{self, Read};

use microagent_os::terminal::{self, StandardStream};
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::limits::REQUEST_BYTES_MAX;
use microagent_workspace::Interrupt;
use microagent_workspace::pass_through::pass_through;

use crate::error::Failure;
use crate::printer::Printer;
use crate::settings::GlobalSettings;
use crate::signals;

const LIMIT: u64 = REQUEST_BYTES_MAX as u64;

/// Passes stdin through; 0 when the response says that it was done.
pub(crate) fn perform(global: &GlobalSettings, printer: &Printer) -> Result<u8, Failure> {
    if terminal::is_terminal(StandardStream::Stdin) {
        return Err(Failure::usage(
            "supervisor reads a request from stdin, and stdin is a terminal",
            "microagent supervisor < request.json",
        ));
    }
    let context = global.context()?;
    let request = read(io::stdin().lock())?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let answer =
        pass_through(&context, request, &interrupt).map_err(|error| Failure::of_library(&error))?;
    printer.bytes(&answer.response)?;
    Ok(if answer.ok {
        exit_code::DONE
    } else {
        exit_code::FAILED
    })
}

fn read(stdin: impl Read) -> Result<Vec<u8>, Failure> {
    let mut request = Vec::new();
    stdin
        .take(LIMIT + 1)
        .read_to_end(&mut request)
        .map_err(|error| {
            Fault::new(FaultKind::Unavailable, "cannot read stdin").with_cause(error.to_string())
        })?;
    if request.len() as u64 > LIMIT {
        return Err(Failure::usage(
            "the request is longer than 16 MiB",
            "a supervisor takes at most 16 MiB",
        ));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, read};
    use std::io::{Read as _, repeat};

    #[test]
    fn a_request_of_the_limit_is_read_and_one_byte_more_is_refused() {
        assert_eq!(read(repeat(b' ').take(LIMIT)).unwrap().len() as u64, LIMIT);
        assert_eq!(
            read(repeat(b' ').take(LIMIT + 1)).unwrap_err().exit_code(),
            2
        );
    }
}
