//! A diagram as SVG, on a light background of its own.

use std::fmt::Write;

use crate::text::{Colour, Diagram, Step};

/// Between two parties.
const COLUMN: usize = 214;
/// From the border to the first party's line.
const MARGIN: usize = 118;
/// Of a box, at most.
const BOX: usize = 204;
const LINE: usize = 17;
/// A letter of 13 px is hardly ever wider on average, in any sans-serif face.
const LETTER: f64 = 7.3;
const TOP: usize = 88;

const INK: &str = "#1f2328";
const FAINT: &str = "#59636e";
const LOCK: &str = "#d4a72c";

/// Fill, border and text.
fn paint(colour: Colour) -> (&'static str, &'static str, &'static str) {
    match colour {
        Colour::Plain => ("#ffffff", "#8c959f", INK),
        Colour::Good => ("#dafbe1", "#1a7f37", "#116329"),
        Colour::Bad => ("#ffebe9", "#cf222e", "#a40e26"),
        Colour::Grey => ("#d0d7de", "#8c959f", INK),
        Colour::Blue => ("#b6e3ff", "#0969da", INK),
        Colour::Violet => ("#e2c5ff", "#8250df", INK),
        Colour::None => ("#ffffff", "#d0d7de", FAINT),
    }
}

/// A bar on a party's line, from where it began.
#[derive(Clone, Copy)]
struct Bar {
    from: usize,
    colour: Colour,
}

/// The picture as it grows downward. Bars lie under arrows and boxes.
struct Canvas<'a> {
    diagram: &'a Diagram,
    bars: String,
    front: String,
    states: Vec<Option<Bar>>,
    locks: Vec<Option<usize>>,
    any_lock: bool,
    y: usize,
}

/// A complete SVG document.
pub(crate) fn svg(diagram: &Diagram) -> String {
    let parties = diagram.parties.len();
    let mut canvas = Canvas {
        diagram,
        bars: String::new(),
        front: String::new(),
        states: vec![None; parties],
        locks: vec![None; parties],
        any_lock: false,
        y: TOP,
    };
    for step in &diagram.steps {
        canvas.step(step);
    }
    canvas.y += 12;
    for party in 0..parties {
        canvas.end_state(party);
        canvas.end_lock(party);
    }
    canvas.finish()
}

impl Canvas<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Arrow { from, to, dashed, text } => self.arrow(*from, *to, *dashed, text),
            Step::Box(party, colour, text) => self.boxed(*party, *colour, text, 4),
            Step::State(party, colour, text) => {
                self.end_state(*party);
                self.boxed(*party, *colour, text, 11);
                let from = self.y - 6;
                self.states[*party] = (*colour != Colour::None).then_some(Bar { from, colour: *colour });
            }
            Step::Lock(party, true) => {
                self.any_lock = true;
                self.locks[*party] = Some(self.y - 4);
            }
            Step::Lock(party, false) => self.end_lock(*party),
            Step::Later(text) => {
                let (y, width) = (self.y + 14, self.width());
                let _ = writeln!(
                    self.front,
                    "<path d=\"M16 {y}H{}\" stroke=\"{FAINT}\" stroke-dasharray=\"2 4\"/>",
                    width - 16
                );
                self.text(width / 2, y + 4, FAINT, " font-style=\"italic\"", text, true);
                self.y += 32;
            }
        }
    }

    fn arrow(&mut self, from: usize, to: usize, dashed: bool, text: &str) {
        let room = from.abs_diff(to) * COLUMN - 30;
        let lines = wrap(text, room);
        self.y += 6;
        let (start, end) = (x(from), x(to));
        // Around bars, whose half is 5.
        let (start, end, head) =
            if start < end { (start + 7, end - 7, end - 15) } else { (start - 7, end + 7, end + 15) };
        let middle = x(from).midpoint(x(to));
        for line in &lines {
            self.y += LINE;
            self.text(middle, self.y - 5, INK, "", line, true);
        }
        self.y += 4;
        let (y, dash) = (self.y, if dashed { " stroke-dasharray=\"5 4\"" } else { "" });
        let _ = writeln!(
            self.front,
            "<path d=\"M{start} {y}H{head}\" stroke=\"{INK}\" stroke-width=\"1.4\"{dash}/>\
             <path d=\"M{end} {y}L{head} {}V{}Z\" fill=\"{INK}\"/>",
            y - 4,
            y + 4
        );
        self.y += 8;
    }

    fn boxed(&mut self, party: usize, colour: Colour, text: &str, radius: usize) {
        let lines = wrap(text, BOX - 24);
        let longest = lines.iter().map(|line| pixels(line)).max().unwrap_or(0);
        let (width, height) = ((longest + 18).min(BOX), lines.len() * LINE + 8);
        let (fill, border, ink) = paint(colour);
        self.y += 6;
        let _ = writeln!(
            self.front,
            "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" fill=\"{fill}\" \
             stroke=\"{border}\"/>",
            x(party) - width / 2,
            self.y,
        );
        for (index, line) in lines.iter().enumerate() {
            self.text(x(party), self.y + 17 + index * LINE, ink, "", line, false);
        }
        self.y += height + 6;
    }

    /// On paper of its own where lines may run behind it.
    fn text(&mut self, x: usize, y: usize, ink: &str, style: &str, text: &str, paper: bool) {
        let paper = if paper { " stroke=\"#ffffff\" stroke-width=\"5\" paint-order=\"stroke\"" } else { "" };
        let text = escape(text);
        let _ = writeln!(self.front, "<text x=\"{x}\" y=\"{y}\" fill=\"{ink}\"{style}{paper}>{text}</text>");
    }

    fn end_state(&mut self, party: usize) {
        if let Some(Bar { from, colour }) = self.states[party].take() {
            self.bar(party, from, paint(colour).0);
        }
    }

    fn end_lock(&mut self, party: usize) {
        if let Some(from) = self.locks[party].take() {
            self.bar(party, from, LOCK);
        }
    }

    fn bar(&mut self, party: usize, from: usize, fill: &str) {
        let height = (self.y + 2).saturating_sub(from);
        let left = x(party) - 5;
        let _ =
            writeln!(self.bars, "<rect x=\"{left}\" y=\"{from}\" width=\"10\" height=\"{height}\" fill=\"{fill}\"/>");
    }

    fn width(&self) -> usize {
        2 * MARGIN + (self.diagram.parties.len() - 1) * COLUMN
    }

    fn finish(self) -> String {
        let (width, end) = (self.width(), self.y);
        let height = end + if self.any_lock { 40 } else { 16 };
        let title = escape(&self.diagram.title);
        // One line, and no empty one: a Markdown text can have it inside.
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" text-anchor=\"middle\" \
             fill=\"none\" role=\"img\" style=\"max-width:100%;height:auto\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"30\" text-anchor=\"start\" font-size=\"17\" font-weight=\"600\" fill=\"{INK}\">{title}</text>\n"
        );
        for (index, party) in self.diagram.parties.iter().enumerate() {
            let (x, name) = (x(index), escape(&party.name));
            let _ = write!(
                svg,
                "<text x=\"{x}\" y=\"62\" font-weight=\"600\" fill=\"{INK}\">{name}</text>\n\
                 <path d=\"M{x} 72V{end}\" stroke=\"#afb8c1\"/>\n"
            );
        }
        svg.push_str(&self.bars);
        svg.push_str(&self.front);
        if self.any_lock {
            let y = end + 14;
            let _ = write!(
                svg,
                "<rect x=\"16\" y=\"{y}\" width=\"10\" height=\"14\" fill=\"{LOCK}\"/>\n\
                 <text x=\"34\" y=\"{}\" text-anchor=\"start\" fill=\"{FAINT}\">has the lock</text>\n",
                y + 12
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn x(party: usize) -> usize {
    MARGIN + party * COLUMN
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a length on a picture"
)]
fn pixels(text: &str) -> usize {
    (text.chars().count() as f64 * LETTER) as usize
}

/// Lines of words that fit, by an estimate.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if pixels(line) + pixels(word) + pixels(" ") <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
