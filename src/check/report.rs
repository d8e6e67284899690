//! What was found, as a table, as JSON and as an exit code.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::EXIT_CODE;
use crate::run::preflight::{Finding, Severity};
use crate::shown;

/// What was looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Configuration,
    Identity,
    Clock,
    Queue,
    Permissions,
    Apps,
    Webhooks,
    #[cfg(feature = "lambda")]
    Functions,
    Process,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Identity => "identity",
            Self::Clock => "clock",
            Self::Queue => "queue",
            Self::Permissions => "permissions",
            Self::Apps => "apps",
            Self::Webhooks => "webhooks",
            #[cfg(feature = "lambda")]
            Self::Functions => "functions",
            Self::Process => "process",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<(Section, Finding)>,
}

impl Report {
    pub(super) fn add(&mut self, section: Section, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings.into_iter().map(|finding| (section, finding)));
    }

    fn worst(&self) -> Severity {
        self.findings.iter().map(|(_, finding)| finding.severity).max().unwrap_or(Severity::Ok)
    }

    fn code(&self, deny_warnings: bool) -> u8 {
        match self.worst() {
            Severity::Refused => EXIT_CODE,
            Severity::Error => 1,
            Severity::Warning => u8::from(deny_warnings),
            Severity::Ok => 0,
        }
    }

    pub(super) fn exit(&self, deny_warnings: bool) -> ExitCode {
        ExitCode::from(self.code(deny_warnings))
    }

    pub(super) fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|(section, finding)| {
                json!({
                    "section": section.name(), "severity": word(finding.severity), "about": finding.about,
                    "text": finding.text, "remedy": finding.remedy,
                })
            })
            .collect();
        json!({"result": word(self.worst()), "findings": findings})
    }

    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        let mut last = None;
        for (section, finding) in &self.findings {
            let name = if last == Some(*section) { "" } else { section.name() };
            last = Some(*section);
            // Text of tenants is one line and no more.
            let text: String = shown::cut(&finding.text, usize::MAX);
            // Writing to a string does not fail.
            writeln!(table, "{name:<14} {:<8} {}: {text}", word(finding.severity), finding.about).ok();
            if let Some(remedy) = finding.remedy.as_ref().filter(|_| finding.severity > Severity::Ok) {
                writeln!(table, "{:<14} {:<8}   {remedy}", "", "").ok();
            }
        }
        let count =
            |severity| self.findings.iter().filter(|(_, finding)| finding.severity == severity).count();
        let errors = count(Severity::Error) + count(Severity::Refused);
        writeln!(table, "\n{errors} errors, {} warnings", count(Severity::Warning)).ok();
        table
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Error | Severity::Refused => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(severities: &[Severity]) -> Report {
        let mut report = Report::default();
        report.add(
            Section::Queue,
            severities.iter().map(|severity| Finding::new(*severity, "a", "b").remedy("c")),
        );
        report
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        use Severity::{Error, Ok, Refused, Warning};
        for (severities, code, denied) in [
            (&[][..], 0, 0),
            (&[Ok], 0, 0),
            (&[Ok, Warning], 0, 1),
            (&[Error, Warning], 1, 1),
            (&[Refused, Error, Ok], 78, 78),
        ] {
            let report = report(severities);
            assert_eq!((report.code(false), report.code(true)), (code, denied), "{severities:?}");
        }
    }

    #[test]
    fn a_remedy_stands_below_what_it_mends() {
        let table = report(&[Severity::Ok, Severity::Warning]).table();
        assert_eq!(table.matches('\n').count(), 5, "{table}");
        assert!(table.contains("warning  a: b\n") && table.contains("1 warnings"), "{table}");
    }
}
