//! How a command fails: an exit code, what went wrong, what to do next.

use crate::data::DataError;
use crate::language::{LanguageError, ScoreError};
use crate::onnx::{ExportError, ImportError, ImportErrorKind};
use planish_runtime::{RunError, RunErrorKind, SessionError};
use std::error::Error;
use std::io;
use std::process::ExitCode;

/// What a command that did not succeed has to say.
#[derive(Debug)]
pub enum Failure {
    /// The model, the data or a comparison is bad: exit code 1.
    Bad(Message),
    /// The command was used wrongly: exit code 2.
    Usage(Message),
    /// A limit was hit: exit code 3.
    Limit(Message),
    /// Nobody reads the output any more: exit code 0.
    BrokenPipe,
    /// The failure is already printed: exit code 1.
    Reported,
}

/// What went wrong, and what to do next.
#[derive(Debug)]
pub struct Message {
    pub text: String,
    pub hint: Option<String>,
}

impl Message {
    fn new(text: impl Into<String>) -> Message {
        Message { text: text.into(), hint: None }
    }
}

impl Failure {
    /// A bad model, bad data or a bad comparison.
    pub fn bad(text: impl Into<String>) -> Failure {
        Failure::Bad(Message::new(text))
    }

    /// A wrong use of the command.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::Usage(Message::new(text))
    }

    /// A limit that was hit.
    pub fn limit(text: impl Into<String>) -> Failure {
        Failure::Limit(Message::new(text))
    }

    /// The same with what to do next.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        let with = |message: Message| Message { hint: Some(hint.into()), ..message };
        match self {
            Failure::Bad(message) => Failure::Bad(with(message)),
            Failure::Usage(message) => Failure::Usage(with(message)),
            Failure::Limit(message) => Failure::Limit(with(message)),
            other => other,
        }
    }

    /// What went wrong, in a line.
    pub fn text(&self) -> &str {
        match self {
            Failure::Bad(message) | Failure::Usage(message) | Failure::Limit(message) => &message.text,
            Failure::BrokenPipe | Failure::Reported => "",
        }
    }

    /// Prints the failure to standard error and gives the exit code.
    pub fn report(self) -> ExitCode {
        let code = match self {
            Failure::BrokenPipe => return ExitCode::SUCCESS,
            Failure::Reported => return ExitCode::from(1),
            Failure::Bad(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Limit(_) => 3,
        };
        if let Failure::Bad(message) | Failure::Usage(message) | Failure::Limit(message) = self {
            eprintln!("error: {}", message.text);
            if let Some(hint) = message.hint {
                eprintln!("  hint: {hint}");
            }
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe { Failure::BrokenPipe } else { Failure::bad(error.to_string()) }
    }
}

/// The error with everything that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Failure {
        let text = chain(&error);
        match error.kind() {
            ImportErrorKind::Memory => Failure::Limit(Message::new(text)).hint("raise --max-memory"),
            _ => Failure::bad(text),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        Failure::bad(chain(&error))
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        let text = chain(&error);
        match &error {
            SessionError::Unsupported(_) => Failure::bad(text).hint("`planish check MODEL` lists everything at once"),
            SessionError::Prepare { source, .. } if matches!(source.root(), planish_ir::OpError::Memory(_)) => {
                Failure::Limit(Message::new(text)).hint("raise --max-memory")
            }
            SessionError::NoSuchValue(_) => {
                Failure::usage(text).hint("`planish inspect MODEL --shapes` lists the values")
            }
            _ => Failure::bad(text),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let text = chain(&error);
        match error.kind() {
            RunErrorKind::Memory => Failure::Limit(Message::new(text)).hint("raise --max-memory"),
            RunErrorKind::DeadlineExceeded => Failure::Limit(Message::new(text)).hint("raise --timeout"),
            RunErrorKind::Input => Failure::bad(text).hint("`planish inspect MODEL` shows the inputs"),
            _ => Failure::bad(text),
        }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Failure {
        Failure::bad(chain(&error))
    }
}

impl From<LanguageError> for Failure {
    fn from(error: LanguageError) -> Failure {
        let text = chain(&error);
        match error {
            LanguageError::Memory(_) => Failure::limit(text),
            _ => Failure::bad(text),
        }
    }
}

impl From<ScoreError> for Failure {
    fn from(error: ScoreError) -> Failure {
        match error {
            ScoreError::Feed(error) => error.into(),
            ScoreError::Run(error) => error.into(),
            _ => Failure::bad(error.to_string()),
        }
    }
}
