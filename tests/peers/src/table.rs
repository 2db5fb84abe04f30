//! The table, as Markdown.

use std::fmt::Write as _;

use crate::machine::version;
use crate::measure::Measured;
use crate::peer::Row;

/// The row that the others are compared with: what the decision costs without any engine.
pub(crate) const NATIVE: &str = "native Rust, compiled keys";
/// The row of keyward that the others are compared with.
pub(crate) const KEYWARD: &str = "keyward warm";

/// One line for each row; times in microseconds, compared with two of the rows.
pub(crate) fn markdown(rows: &[Row], measured: &[Measured], base: (&str, &str)) -> String {
    let median_of = |name| {
        let row = rows.iter().position(|row| row.name == name).unwrap();
        measured[row].median_ns()
    };
    let (first, second) = (median_of(base.0), median_of(base.1));
    let mut text = format!(
        "| peer | version | keys | µs per decision | min–max | p50 | p99 | × {} | × {} |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
        base.0, base.1
    );
    for (row, measured) in rows.iter().zip(measured) {
        let median = measured.median_ns();
        let (least, most) = measured.spread_ns();
        let cells = [
            row.name.to_owned(),
            versions(row),
            row.keys.to_string(),
            micros(median),
            format!("{}–{}", micros(least), micros(most)),
            micros(measured.percentile_ns(50)),
            micros(measured.percentile_ns(99)),
            digits(median / first),
            digits(median / second),
        ];
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    }
    text
}

fn versions(row: &Row) -> String {
    let versions = row.packages.iter().map(|package| {
        let version = version(package);
        let version = version
            .split_once('+')
            .map_or(version, |(version, _)| version);
        format!("{package} {version}")
    });
    let versions: Vec<_> = versions.collect();
    if versions.is_empty() {
        "–".to_owned()
    } else {
        versions.join(", ")
    }
}

fn micros(ns: f64) -> String {
    digits(ns / 1_000.0)
}

/// Two or more digits that mean something.
fn digits(number: f64) -> String {
    let places = match number {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        0.01.. => 3,
        _ => 4,
    };
    format!("{number:.places$}")
}
