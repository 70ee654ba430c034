//! Line charts as SVG: plain, small, readable on light and on dark.

use std::fmt::Write as _;

/// A chart with one line for each who competes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The name of the file, without folder and ending.
    pub file: &'static str,
    /// What it shows, with who and under what.
    pub title: String,
    /// What is to the right.
    pub x: Axis,
    /// What is up.
    pub y: Axis,
    /// A stretch of x in which something is wrong, and what.
    pub span: Option<(f64, f64, &'static str)>,
    /// The lines; the first is ours and drawn on top.
    pub lines: Vec<Line>,
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What it counts, with its unit.
    pub label: &'static str,
    /// Where it begins.
    pub from: f64,
    /// Where it ends; what is beyond is drawn at the end.
    pub to: f64,
    /// From one mark to the next.
    pub step: f64,
}

/// A line through points, which ascend.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// Through what.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 276.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 628.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 232.0;

/// Colors that people with color blindness tell apart too, each with a dash of its own for print.
const STYLES: [(&str, &str); 6] = [
    ("#0072b2", "none"),
    ("#d55e00", "7 3"),
    ("#009e73", "2 3"),
    ("#cc79a7", "9 3 2 3"),
    ("#e69f00", "4 2"),
    ("#56b4e9", "1 2"),
];

/// Gray of middle lightness is readable on both; where the viewer says what it shows, text follows.
const STYLE: &str = "text{font:12px sans-serif;fill:#555}line{stroke:#888;stroke-opacity:.35}\
polyline{fill:none;stroke-linejoin:round}\
@media(prefers-color-scheme:dark){text{fill:#bbb}}";

// === impl Chart ===

impl Chart {
    /// Draws it.
    ///
    /// # Panics
    ///
    /// If there are more lines than styles, six, or their names fill more than two rows.
    #[must_use]
    pub fn to_svg(&self) -> String {
        assert!(
            self.lines.len() <= STYLES.len(),
            "too many lines to tell apart"
        );
        let mut svg = String::new();
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n\
             <text x=\"{LEFT}\" y=\"14\" font-weight=\"bold\">{title}</text>\n",
            title = escape(&self.title),
        );
        self.draw_span(&mut svg);
        self.draw_axes(&mut svg);
        self.draw_legend(&mut svg);
        for (line, style) in self.lines.iter().zip(STYLES).rev() {
            self.draw_line(&mut svg, line, style);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_span(&self, svg: &mut String) {
        let Some((from, to, what)) = self.span else {
            return;
        };
        let (from, to) = (
            self.x.place(from, LEFT, RIGHT),
            self.x.place(to, LEFT, RIGHT),
        );
        let _ = write!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\" fill=\"#888\" \
             fill-opacity=\".12\"/>\n<text x=\"{:.1}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
            to - from,
            BOTTOM - TOP,
            to - 4.0,
            TOP + 14.0,
            escape(what)
        );
    }

    fn draw_axes(&self, svg: &mut String) {
        for value in self.x.marks() {
            let x = self.x.place(value, LEFT, RIGHT);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
                BOTTOM + 16.0
            );
        }
        for value in self.y.marks() {
            let y = self.y.place(value, BOTTOM, TOP);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
                LEFT - 6.0,
                y + 4.0
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 34.0,
            escape(self.x.label),
            (TOP + BOTTOM) / 2.0,
            escape(self.y.label)
        );
    }

    fn draw_legend(&self, svg: &mut String) {
        let (mut x, mut y) = (LEFT, 30.0);
        for (line, (color, dash)) in self.lines.iter().zip(STYLES) {
            // Wide enough for the letters of most fonts at this size.
            let width = 24.0 + 6.4 * line.name.chars().count() as f64;
            if x + width > RIGHT {
                (x, y) = (LEFT, y + 17.0);
            }
            let _ = write!(
                svg,
                "<polyline points=\"{x:.0},{y:.0} {:.0},{y:.0}\" stroke=\"{color}\" \
                 stroke-width=\"2.5\" stroke-dasharray=\"{dash}\"/>\n\
                 <text x=\"{:.0}\" y=\"{:.0}\">{}</text>\n",
                x + 20.0,
                x + 24.0,
                y + 4.0,
                escape(&line.name)
            );
            x += width + 14.0;
        }
        assert!(y < TOP - 10.0, "the names are too long for two rows");
    }

    fn draw_line(&self, svg: &mut String, line: &Line, (color, dash): (&str, &str)) {
        svg.push_str("<polyline points=\"");
        for (index, &(x, y)) in line.points.iter().enumerate() {
            let (x, y) = (self.x.place(x, LEFT, RIGHT), self.y.place(y, BOTTOM, TOP));
            let space = if index > 0 { " " } else { "" };
            let _ = write!(svg, "{space}{x:.1},{y:.1}");
        }
        let _ = writeln!(
            svg,
            "\" stroke=\"{color}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>"
        );
    }
}

// === impl Axis ===

impl Axis {
    /// Where a value stands between two edges.
    fn place(self, value: f64, low: f64, high: f64) -> f64 {
        let share = (value.clamp(self.from, self.to) - self.from) / (self.to - self.from);
        low + share * (high - low)
    }

    fn marks(self) -> impl Iterator<Item = f64> {
        let count = ((self.to - self.from) / self.step).floor() as u32;
        (0..=count).map(move |mark| self.from + f64::from(mark) * self.step)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let axis = |label, to, step| Axis {
            label,
            from: 0.0,
            to,
            step,
        };
        Chart {
            file: "a",
            title: "R&D <1>".to_owned(),
            x: axis("time, s", 10.0, 5.0),
            y: axis("goodput, 1/s", 100.0, 50.0),
            span: Some((5.0, 10.0, "fault")),
            lines: vec![Line {
                name: "ours".to_owned(),
                points: vec![(0.0, 0.0), (5.0, 50.0), (10.0, 1_000.0)],
            }],
        }
    }

    #[test]
    fn points_stand_where_the_axes_say_and_never_outside() {
        let svg = chart().to_svg();

        assert!(
            svg.contains("points=\"52.0,232.0 340.0,148.0 628.0,64.0\""),
            "{svg}"
        );
        assert!(svg.contains("<rect x=\"340.0\" y=\"64\" width=\"288.0\""));
    }

    #[test]
    fn axes_have_labels_and_marks_and_text_is_escaped() {
        let svg = chart().to_svg();

        for text in ["time, s", "goodput, 1/s", "R&amp;D &lt;1>", "ours", "fault"] {
            assert!(svg.contains(&format!(">{text}</t")), "{text}: {svg}");
        }
        for mark in ["0", "5", "10", "50", "100"] {
            assert!(svg.contains(&format!(">{mark}</text>")), "{mark}: {svg}");
        }
    }
}
