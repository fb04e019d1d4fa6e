//! Log lines on stderr, for those who ask.
//!
//! Warnings only unless `-v` says more; `MICROAGENT_LOG` wins over both. With `--json` stderr stays
//! empty unless one of them was given. Nothing parses these lines.

use microagent_types::env_vars::EnvVar;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::error::{Failure, usage};
use crate::printer::{Format, Paint};

/// What is logged: the filter that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogFilter {
    /// So many `-v`.
    Level(u8),
    /// The text of `MICROAGENT_LOG`.
    Directives(String),
}

impl LogFilter {
    /// The variable wins over `-v`.
    pub(crate) fn resolve(verbose: u8) -> Self {
        EnvVar::Log
            .read()
            .map_or(Self::Level(verbose), Self::Directives)
    }

    /// Whether log lines were asked for; progress is not drawn between them.
    pub(crate) fn was_asked_for(&self) -> bool {
        *self != Self::Level(0)
    }

    fn build(&self, format: Format) -> Result<Targets, Failure> {
        let level = match self {
            Self::Directives(text) => {
                return text.parse().map_err(|error: ParseError| {
                    let hint = "write it like microagent=debug, or unset it";
                    Failure::Command(
                        usage(
                            format!("`{text}` in MICROAGENT_LOG is not a log filter"),
                            hint,
                        )
                        .with_cause(error.to_string()),
                    )
                });
            }
            Self::Level(0) if format == Format::Json => LevelFilter::OFF,
            Self::Level(0) => LevelFilter::WARN,
            Self::Level(1) => LevelFilter::INFO,
            Self::Level(2) => LevelFilter::DEBUG,
            Self::Level(_) => LevelFilter::TRACE,
        };
        Ok(Targets::new().with_default(level))
    }
}

/// Begins to log to stderr. Called once, before the command.
pub(crate) fn begin(filter: &LogFilter, format: Format, paint: Paint) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(paint == Paint::Ansi)
        .with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry()
        .with(filter.build(format)?)
        .with(lines);
    tracing::subscriber::set_global_default(subscriber)
        .expect("main begins to log once, and nothing else does");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::LogFilter;
    use crate::printer::Format;

    #[test]
    fn verbosity_picks_the_level_and_json_is_silent_without_it() {
        let level = |verbose, format| {
            let filter = LogFilter::Level(verbose).build(format).unwrap();
            filter.to_string()
        };
        assert_eq!(level(0, Format::Text), "warn");
        assert_eq!(level(0, Format::Json), "off");
        assert_eq!(level(1, Format::Json), "info");
        assert_eq!(level(2, Format::Text), "debug");
        assert_eq!(level(9, Format::Text), "trace");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_the_variable_named() {
        let refused = LogFilter::Directives("microagent=loud".to_owned())
            .build(Format::Text)
            .unwrap_err();
        let fault = refused.fault().unwrap();
        assert!(
            fault.message.contains("MICROAGENT_LOG"),
            "{}",
            fault.message
        );
        assert_eq!(refused.exit_code(), 2);
    }
}
