use std::fmt::Write;

/// How long the name of a frame gets: 100 characters. Generic async code has names of thousands.
const NAME_CHARS_MAX: usize = 100;

/// Turns return addresses into text, one frame a line. Left out are the panic machinery at the
/// top, the start of the thread at the bottom, and everything in between that is the standard
/// library's.
///
/// Slow: reads debug information. Called on the reporter thread alone.
pub(super) fn symbolize(addresses: &[usize]) -> String {
    let mut frames = Vec::new();
    // A return address points behind the call; one byte less is inside of it. Below the start of
    // a thread there is none.
    for inside in addresses
        .iter()
        .filter_map(|address| address.checked_sub(1))
    {
        backtrace::resolve(inside as *mut _, |symbol| {
            let name = symbol
                .name()
                .map_or_else(|| "?".to_owned(), |name| format!("{name:#}"));
            let place = symbol.filename().map(|file| {
                let line = symbol.lineno().unwrap_or(0);
                format!("{}:{line}", file.display())
            });
            frames.push((name, place));
        });
    }
    let mut text = String::new();
    for (name, place) in relevant(&frames).iter().filter(|frame| !is_std(frame)) {
        let short: String = name.chars().take(NAME_CHARS_MAX).collect();
        let cut = if short.len() < name.len() { "…" } else { "" };
        let _ = write!(text, "{short}{cut}");
        if let Some(place) = place {
            let _ = write!(text, " at {place}");
        }
        text.push('\n');
    }
    text
}

fn is_std((_, place): &Frame) -> bool {
    place
        .as_ref()
        .is_some_and(|place| place.starts_with("/rustc/"))
}

type Frame = (String, Option<String>);

fn relevant(frames: &[Frame]) -> &[Frame] {
    const MACHINERY: &[&str] = &[
        "__rustc::rust_begin_unwind",
        "rust_begin_unwind",
        "std::panicking",
        "core::panicking",
    ];
    const START: &str = "__rust_begin_short_backtrace";

    let machinery = |name: &str| MACHINERY.iter().any(|start| name.starts_with(start));
    let top = frames.iter().rposition(|(name, _)| machinery(name));
    // The catch around the start of a thread is machinery too, but far below.
    let top = frames
        .iter()
        .position(|(name, _)| {
            name.contains("rust_begin_unwind") || name.starts_with("std::panicking::begin_panic")
        })
        .or(top)
        .map_or(0, |top| {
            let below = frames[top..].iter().take_while(|(name, _)| machinery(name));
            top + below.count()
        });
    let bottom = frames[top..]
        .iter()
        .position(|(name, _)| name.contains(START))
        .map_or(frames.len(), |bottom| top + bottom);
    &frames[top..bottom]
}
