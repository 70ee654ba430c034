//! Schedules that no file has: somebody has made them by the API, a server with other files has, or they were taken out of a
//! file, which deletes nothing.

use steadfast::jobs;
use steadfast::jobs::schedule::Schedules;

/// How many are told by name: 10, what is read at a glance.
const TOLD_MAX: usize = 10;

/// How many are read at a time.
const PAGE: usize = 500;

/// Gives the names of those in the store that these files do not have, as they are told; nothing where there is none.
pub(crate) async fn unwritten(
    schedules: &Schedules,
    is_written: impl Fn(&str) -> bool,
) -> Result<Option<String>, jobs::Error> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let views = schedules.list(&after, PAGE).await?;
        let Some(last) = views.last() else { break };
        after = last.schedule.name().to_owned();
        let names = views.iter().map(|view| view.schedule.name());
        found.extend(names.filter(|name| !is_written(name)).map(str::to_owned));
        if found.len() > TOLD_MAX {
            break;
        }
    }
    let more = if found.len() > TOLD_MAX { ", …" } else { "" };
    found.truncate(TOLD_MAX);
    Ok((!found.is_empty()).then(|| format!("{}{more}", found.join(", "))))
}
