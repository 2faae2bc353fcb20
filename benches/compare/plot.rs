//! Bars as SVG, by hand: a section's rows of one unit are a panel, a front a bar.

use std::fmt::Write;

use crate::fronts::Front;
use crate::report::number;
use crate::results::{Better, Row};

const WIDTH: f64 = 760.0;
const LABELS: f64 = 100.0;
const VALUES: f64 = 70.0;
const BAR: f64 = 13.0;
const GAP: f64 = 26.0;

/// One picture of `rows` under `title`.
pub fn svg(title: &str, rows: &[&Row]) -> String {
    let mut body = String::new();
    let mut y = 34.0;
    for row in rows {
        y = panel(&mut body, row, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n{body}</svg>\n"
    )
}

/// Draws a row's bars from `y` on; gives where the next begins.
fn panel(body: &mut String, row: &Row, y: f64) -> f64 {
    let values: Vec<(Front, f64)> = Front::ALL.into_iter().filter_map(|front| Some((front, row.value(front)?))).collect();
    let most = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let way = match row.measure.better {
        Better::Lower => "less is better",
        Better::Higher => "more is better",
    };
    writeln!(body, "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}: {} ({way})</text>", y + 10.0, row.measure.name, row.measure.unit)
        .unwrap();
    let mut y = y + 16.0;
    for (front, value) in values {
        let length = (WIDTH - LABELS - VALUES) * value.max(0.0) / most;
        let middle = y + BAR - 3.0;
        writeln!(
            body,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{middle}\">{}</text>",
            LABELS - 6.0,
            front.name(),
            BAR - 2.0,
            colour(front),
            LABELS + length + 4.0,
            number(value),
        )
        .unwrap();
        y += BAR;
    }
    y + GAP - BAR
}

fn colour(front: Front) -> &'static str {
    match front {
        Front::Postern => "#1a7f37",
        Front::Socket | Front::Bare => "#b8bec6",
        Front::Native => "#336791",
        Front::PgBouncer | Front::Stunnel | Front::HaProxy | Front::Nginx => "#8a9bb0",
    }
}
