//! Records as tables and CSV, in which no value can be mistaken for something else.

use crate::cli::paint::Paint;
use crate::text::escaped;

use serde::Serialize;
use std::fmt::Write;

/// How the ledger spells a value of one of its enumerations.
pub(super) fn word(it: &impl Serialize) -> String {
    match serde_json::to_value(it) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// The gap between two columns.
const GAP: &str = "  ";

/// The least width that a column is cut to, to make a row fit.
const NARROW: usize = 8;

/// Rows under their heads, each column as wide as its widest cell.
pub(in crate::cli) fn table(heads: &[&'static str], rows: &[Vec<String>]) -> String {
    Columns::of(heads, rows).table(rows)
}

/// A table's columns.
pub(super) struct Columns {
    pub(super) heads: Vec<&'static str>,
    widths: Vec<usize>,
    paint: Paint,
    /// The column that gets the colours of its answers.
    answers: Option<usize>,
}

impl Columns {
    /// Wide enough for `rows`.
    pub(super) fn of(heads: &[&'static str], rows: &[Vec<String>]) -> Self {
        let length = |it: &str| escaped(it).chars().count();
        let widest = |(column, head): (usize, &&str)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|it| length(it)).max().unwrap_or(0).max(length(head))
        };
        Self {
            heads: heads.to_vec(),
            widths: heads.iter().enumerate().map(widest).collect(),
            paint: Paint::PLAIN,
            answers: heads.iter().position(|it| *it == "DECISION"),
        }
    }

    pub(super) fn painted(self, paint: Paint) -> Self {
        Self { paint, ..self }
    }

    /// Narrowed to `width` in all, if possible: the columns of `yielding` are cut, in that order.
    pub(super) fn within(mut self, width: usize, yielding: &[usize]) -> Self {
        for column in yielding {
            let excess = self.width().saturating_sub(width);
            if let Some(it) = self.widths.get_mut(*column) {
                *it = (*it).min(NARROW).max(it.saturating_sub(excess));
            }
        }
        self
    }

    /// The width of all of them with their gaps.
    pub(super) fn width(&self) -> usize {
        self.widths.iter().sum::<usize>() + GAP.len() * self.widths.len().saturating_sub(1)
    }

    /// Rows under their heads.
    pub(super) fn table(&self, rows: &[Vec<String>]) -> String {
        let heads: Vec<_> = self.heads.iter().map(|it| (*it).to_owned()).collect();
        let head = self.line(&heads, |_, cell| cell);
        format!("{}\n{}", self.paint.head(&head), self.lines(rows))
    }

    /// Rows; what does not fit into its column is cut.
    pub(super) fn lines(&self, rows: &[Vec<String>]) -> String {
        let painted = |column, cell: String| match self.answers == Some(column) {
            true => self.paint.answer(&cell, &cell),
            false => cell,
        };
        rows.iter().map(|row| self.line(row, painted) + "\n").collect()
    }

    fn line(&self, row: &[String], painted: impl Fn(usize, String) -> String) -> String {
        let mut res = String::new();
        for (column, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
            let mut cell = escaped(cell).into_owned();
            if *width < cell.chars().count() {
                cell = cell.chars().take(width.saturating_sub(1)).chain(['…']).collect();
            }
            let blanks = width.saturating_sub(cell.chars().count());
            let _ = write!(res, "{}{:blanks$}{GAP}", painted(column, cell), "");
        }
        res.truncate(res.trim_end().len());
        res
    }
}

/// Rows under their heads as CSV (RFC 4180, but with LF). A cell that starts like a formula gets an
/// apostrophe in front, so that a spreadsheet takes it as text.
pub(super) fn csv(heads: &[&str], rows: &[Vec<String>]) -> String {
    let field = |it: &str| {
        let mut it = escaped(it).into_owned();
        if it.starts_with(['=', '+', '-', '@']) {
            it.insert(0, '\'');
        }
        match it.contains([',', '"', ' ']) {
            true => format!("\"{}\"", it.replace('"', "\"\"")),
            false => it,
        }
    };
    let mut res = heads.join(",") + "\n";
    for row in rows {
        let fields: Vec<_> = row.iter().map(|it| field(it)).collect();
        res.push_str(&fields.join(","));
        res.push('\n');
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_where_it_is_read() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows =
            [row(["2026-01-15", "3faf5c03-aaa1-4cbe", "guardrails/protect"]), row(["", "b", "c"])];
        for (width, expected) in [
            (50, "2026-01-15  3faf5c03-aaa1-4cbe  guardrails/protect"),
            (49, "2026-01-15  3faf5c03-aaa1-4c…  guardrails/protect"),
            (40, "2026-01-15  3faf5c0…  guardrails/protect"),
            (39, "2026-01-15  3faf5c0…  guardrails/prote…"),
            (10, "2026-01-15  3faf5c0…  guardra…"),
        ] {
            let heads = ["T", "JOB", "BY"];
            let table = Columns::of(&heads, &rows).within(width, &[1, 2]).table(&rows);
            assert_eq!(table.lines().nth(1), Some(expected), "{width:?}");
        }
    }

    #[test]
    fn colours_take_no_width() {
        let rows = [["allow", "x"], ["deny", "y"]].map(|it| it.map(str::to_owned).to_vec());
        let heads = ["DECISION", "Z"];
        let table = Columns::of(&heads, &rows).painted(Paint::COLOURED).table(&rows);
        let plain = table
            .replace("\u{1b}[1m", "")
            .replace("\u{1b}[31m", "")
            .replace("\u{1b}[32m", "")
            .replace("\u{1b}[0m", "");
        assert_eq!(plain, super::table(&heads, &rows));
        assert!(table.contains("\u{1b}[31mdeny\u{1b}[0m      y"), "{table}");
    }

    /// Attack 83
    #[test]
    fn no_value_passes_for_something_else() {
        for (value, in_table, in_csv) in [
            ("corp/alice", "corp/alice", "corp/alice"),
            ("a\nb", "a\\u{a}b", "a\\u{a}b"),
            ("a\r\x1b[31mb", "a\\u{d}\\u{1b}[31mb", "a\\u{d}\\u{1b}[31mb"),
            ("a\u{202e}b\u{9b}", "a\\u{202e}b\\u{9b}", "a\\u{202e}b\\u{9b}"),
            ("a,b", "a,b", "\"a,b\""),
            ("say \"x\"", "say \"x\"", "\"say \"\"x\"\"\""),
            ("数据", "数据", "数据"),
            ("=1+1", "=1+1", "'=1+1"),
            ("+1", "+1", "'+1"),
            ("-1", "-1", "'-1"),
            ("@SUM(A1)", "@SUM(A1)", "'@SUM(A1)"),
            ("a=1", "a=1", "a=1"),
        ] {
            let rows = [vec![value.to_owned(), "end".to_owned()]];
            let width = in_table.chars().count().max(1);
            let head = format!("{:width$}  Z", "A");
            assert_eq!(table(&["A", "Z"], &rows), format!("{head}\n{in_table}  end\n"));
            assert_eq!(csv(&["a", "z"], &rows), format!("a,z\n{in_csv},end\n"));
        }
    }
}
