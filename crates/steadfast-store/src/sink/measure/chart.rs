//! What was measured, as text, JSON and SVG.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{Measured, MeasuredSize};

pub(super) fn text(measured: &Measured, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "rows a batch    batches   mean time  lock waiters  (most)     rows/s  conflicts  replica lag"
    )?;
    for (name, one) in named(measured) {
        let waiters = format!("{:.1}", one.waiters_mean);
        let most = format!("({})", one.waiters_max);
        let time = format!("{:.1?}", one.time_mean);
        writeln!(
            f,
            "{name:>12} {:>10} {time:>11} {waiters:>13} {most:>7} {:>10.0} {:>10} {:>12}",
            one.batches,
            one.rows_per_second,
            one.conflicts,
            lag(one)
        )?;
    }
    if let Some(ended) = measured.ended {
        writeln!(f, "ended early: {ended}")?;
    }
    match measured.advised() {
        Some(one) => writeln!(
            f,
            "{:.0} rows write most of those that take 50 ms or less and have two or fewer wait",
            one.rows
        ),
        None => writeln!(
            f,
            "none of these takes 50 ms or less and has two or fewer wait"
        ),
    }
}

fn named(measured: &Measured) -> Vec<(String, &MeasuredSize)> {
    let fixed = measured
        .sizes
        .iter()
        .map(|one| (format!("{:.0}", one.rows), one));
    let adaptive = measured
        .adaptive
        .iter()
        .map(|one| (format!("adapts: {:.0}", one.rows), one));
    fixed.chain(adaptive).collect()
}

fn lag(one: &MeasuredSize) -> String {
    match one.lag_max {
        None => "unknown".to_owned(),
        // Gone by the next look.
        Some(Duration::ZERO) => "0s".to_owned(),
        Some(lag) => format!("{lag:.1?}"),
    }
}

impl Measured {
    /// Gives it as JSON: `sizes`, `adaptive` and `ended`; times are in seconds.
    pub fn json(&self) -> String {
        let sizes: Vec<_> = self.sizes.iter().map(object).collect();
        let adaptive = self.adaptive.as_ref().map_or("null".to_owned(), object);
        let ended = self
            .ended
            .map_or("null".to_owned(), |ended| format!("\"{ended}\""));
        format!(
            "{{\"sizes\":[{}],\"adaptive\":{adaptive},\"ended\":{ended}}}\n",
            sizes.join(",")
        )
    }

    /// Gives it as a drawing: a bar for the rows a second, a line for the mean time of a batch. All numbers stand in it
    /// as text.
    pub fn svg(&self) -> String {
        const COLUMN: f64 = 90.0;
        const HEIGHT: f64 = 200.0;
        const TOP: f64 = 30.0;
        let all = named(self);
        let most =
            |of: fn(&MeasuredSize) -> f64| all.iter().map(|(_, one)| of(one)).fold(1e-9, f64::max);
        let rate_most = most(|one| one.rows_per_second);
        let time_most = most(|one| one.time_mean.as_secs_f64());
        let width = 20.0 + COLUMN * all.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} 310\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"11\" text-anchor=\"middle\">\n\
             <title>Rows a batch: rows a second (bars), mean time (line), who waits for locks</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        let mut points = Vec::new();
        for (at, (name, one)) in all.iter().enumerate() {
            let middle = 10.0 + COLUMN * (at as f64 + 0.5);
            let tall = HEIGHT * one.rows_per_second / rate_most;
            let bar = TOP + HEIGHT - tall;
            let time = TOP + HEIGHT * (1.0 - one.time_mean.as_secs_f64() / time_most);
            points.push(format!("{middle:.0},{time:.0}"));
            let _ = writeln!(
                svg,
                "<rect x=\"{:.0}\" y=\"{bar:.0}\" width=\"50\" height=\"{tall:.0}\" fill=\"#9ecae1\"/>",
                middle - 25.0
            );
            let lines = [
                (bar - 5.0, format!("{:.0}/s", one.rows_per_second)),
                (248.0, format!("{name} rows")),
                (264.0, format!("{:.1?}", one.time_mean)),
                (280.0, format!("{:.1} wait", one.waiters_mean)),
                (296.0, format!("lag {}", lag(one))),
            ];
            for (y, line) in lines {
                let _ = writeln!(svg, "<text x=\"{middle:.0}\" y=\"{y:.0}\">{line}</text>");
            }
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#b30000\" stroke-width=\"2\"/>\n</svg>",
            points.join(" ")
        );
        svg
    }
}

fn object(one: &MeasuredSize) -> String {
    let lag = one.lag_max.map_or("null".to_owned(), seconds);
    format!(
        "{{\"rows\":{:.1},\"batches\":{},\"time_mean_seconds\":{},\"waiters_mean\":{:.2},\"waiters_max\":{},\
         \"rows_per_second\":{:.1},\"conflicts\":{},\"lag_max_seconds\":{lag}}}",
        one.rows,
        one.batches,
        seconds(one.time_mean),
        one.waiters_mean,
        one.waiters_max,
        one.rows_per_second,
        one.conflicts
    )
}

/// To the microsecond: more is noise.
fn seconds(duration: Duration) -> String {
    format!("{:.6}", duration.as_secs_f64())
}
