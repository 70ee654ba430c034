//! What was measured, and what it has to be.

use std::fmt;

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Anything; it is there to be looked at.
    None,
}

struct Row {
    run: &'static str,
    name: String,
    target: Target,
    value: f64,
    decimals: usize,
    tries: u32,
}

/// Rows of figures.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

// === impl Table ===

impl Table {
    /// Adds a figure; not a number where it could not be measured, which meets no target.
    pub(crate) fn row(
        &mut self,
        run: &'static str,
        name: impl Into<String>,
        target: Target,
        value: f64,
        decimals: usize,
    ) {
        self.rows.push(Row {
            run,
            name: name.into(),
            target,
            value,
            decimals,
            tries: 1,
        });
    }

    /// Adds all rows of another one, which took so many tries.
    pub(crate) fn add(&mut self, table: Self, tries: u32) {
        let rows = table.rows.into_iter();
        self.rows.extend(rows.map(|row| Row { tries, ..row }));
    }

    pub(crate) fn is_met(&self) -> bool {
        self.missed().is_empty()
    }

    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = self.rows.iter().filter(|row| !row.is_met());
        missed.map(ToString::to_string).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| run | | target | measured | met | tries |")?;
        writeln!(f, "|---|---|---:|---:|---|---:|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row {
    fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(least) => self.value >= least,
            Target::AtMost(most) => self.value <= most,
            Target::None => true,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::AtLeast(least) => format!("≥ {least}"),
            Target::AtMost(most) => format!("≤ {most}"),
            Target::None => String::new(),
        };
        let met = match (self.target, self.is_met()) {
            (Target::None, _) => "",
            (_, true) => "yes",
            (_, false) => "**no**",
        };
        let Row {
            run,
            name,
            value,
            decimals,
            tries,
            ..
        } = self;
        write!(
            f,
            "| {run} | {name} | {target} | {value:.decimals$} | {met} | {tries} |"
        )
    }
}
