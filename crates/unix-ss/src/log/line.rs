//! One line of the log.

use std::fmt::{Debug, Write};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::json::{self, PathKeys, errno_name};
use crate::message::{Said, one_line};

/// Keys are only ever added. `path` is null where it is about none.
#[derive(Serialize)]
pub(super) struct Line {
    time: String,
    level: &'static str,
    target: String,
    message: String,
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    fields: Map<String, Value>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let mut line = Line::new(level, metadata.target());
        event.record(&mut line);
        line
    }

    pub(super) fn error(what: &impl Said) -> Self {
        let mut line = Line { message: what.to_string(), ..Line::new("error", "unix_ss") };
        if let Some(path) = what.path().filter(|path| !path.as_os_str().is_empty()) {
            let PathKeys { path, path_hex } = PathKeys::of(path);
            (line.path, line.path_hex) = (Some(path), path_hex);
        }
        line.fields.extend(what.errno().map(|errno| ("errno".to_owned(), errno_name(errno).into())));
        line
    }

    fn new(level: &'static str, target: &str) -> Self {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let (target, message) = (target.to_owned(), String::new());
        Line { time, level, target, message, path: None, path_hex: None, fields: Map::new() }
    }

    pub(super) fn json(&self) -> String {
        json::line(self)
    }

    /// `unix-ss: info: got the lock at /run/s (waited_us 1234)`
    pub(super) fn text(&self) -> String {
        let mut text = format!("unix-ss: {}: {}", self.level, self.message);
        if let Some(path) = &self.path {
            let _ = write!(text, " at {path}"); // a String takes everything
        }
        for (place, (name, value)) in self.fields.iter().enumerate() {
            let between = if place == 0 { " (" } else { ", " };
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(text, "{between}{name} {value}");
        }
        if !self.fields.is_empty() {
            text.push(')');
        }
        one_line(&text).into_owned()
    }

    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("path", Value::String(text)) => self.path = Some(text),
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}").into());
    }
}
