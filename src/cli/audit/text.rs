//! Records as text for people: tables and CSV in which no value can pass for something else.

use crate::text::escaped;

use serde::Serialize;
use std::fmt::Write;

/// The word of the ledger for one of its enumerations.
pub(super) fn word(it: &impl Serialize) -> String {
    match serde_json::to_value(it) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Rows under their heads, in columns; the last one has no limit.
pub(in crate::cli) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads = heads.iter().map(|it| (*it).to_owned()).collect();
    let rows = rows.iter().map(|row| row.iter().map(|it| escaped(it).into_owned()).collect());
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut res = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        res.push_str(line.trim_end());
        res.push('\n');
    }
    res
}

/// Rows under their heads as CSV (RFC 4180, but with LF). A spreadsheet takes what starts like a
/// formula for one; an apostrophe before it makes it text.
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
