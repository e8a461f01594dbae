//! Tables and numbers for people.

use planish_ir::Dim;
use std::io::IsTerminal;

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under a heading, aligned.
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// The widest that one cell is printed.
const MAX_CELL: usize = 60;

impl Table {
    /// An empty table of these columns.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        Table { columns: columns.iter().map(|&(name, align)| (name.to_owned(), align)).collect(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| shorten(&cell, MAX_CELL)).collect());
    }

    /// The table as text, indented by two spaces.
    pub fn render(&self) -> String {
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i));
            let heading = self.columns[i].0.chars().count();
            cells.map(|cell| cell.chars().count()).fold(heading, usize::max)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::from(" ");
            for ((cell, &width), (_, align)) in cells.zip(&widths).zip(&self.columns) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                text.push(' ');
                match align {
                    Align::Left => text.extend([cell, &padding]),
                    Align::Right => text.extend([&padding, cell]),
                }
                text.push(' ');
            }
            format!("{}\n", text.trim_end())
        };
        let mut text = faint(&line(&mut self.columns.iter().map(|(name, _)| name.as_str())));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }
}

/// The text, its middle left out if it is longer than `most` characters.
pub fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most / 2).collect();
    let tail: String = text.chars().skip(count - (most - most / 2 - 1)).collect();
    format!("{head}…{tail}")
}

/// A number with its digits grouped, or a formula of symbols.
pub fn formula(dim: &Dim) -> String {
    match dim.as_known() {
        Some(number) => grouped(u64::try_from(number).unwrap_or(0)),
        None if dim.is_unknown() => "?".to_owned(),
        None => dim.fmt_si(),
    }
}

/// `12,345,678`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in MB, or smaller units below 0.1 MB.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..100_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// A duration in milliseconds, with three significant digits.
pub fn milliseconds(ms: f64) -> String {
    let digits = match ms {
        ms if ms >= 100.0 => 0,
        ms if ms >= 10.0 => 1,
        ms if ms >= 1.0 => 2,
        _ => 3,
    };
    format!("{ms:.digits$}")
}

fn styled(text: &str, code: &str) -> String {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || !std::io::stdout().is_terminal();
    if is_plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

/// Emphasised on a terminal.
pub fn bold(text: &str) -> String {
    styled(text, "1")
}

/// Less prominent on a terminal.
pub fn faint(text: &str) -> String {
    styled(text, "2")
}

/// Red on a terminal.
pub fn red(text: &str) -> String {
    styled(text, "31")
}

/// Green on a terminal.
pub fn green(text: &str) -> String {
    styled(text, "32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Align::Left), ("count", Align::Right)]);
        table.row(vec!["a".into(), "10".into()]);
        table.row(vec!["longer".into(), "7".into()]);
        assert_eq!(table.render(), "  name    count\n  a          10\n  longer      7\n");
    }

    #[test]
    fn long_cells_lose_their_middle() {
        assert_eq!(shorten("abcdefghij", 5), "ab…ij");
    }
}
