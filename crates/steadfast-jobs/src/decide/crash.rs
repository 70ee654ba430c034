//! Which job killed its process, when a process dies with many of them.
//!
//! A process that dies takes all its jobs along, and leaves no word which of them it was: an abort,
//! a stack overflow, memory that ran out. Counting the crash against each of them quarantines fifty
//! innocent neighbors with the one that did it. Counting it against none lets that one kill process
//! after process for ever.
//!
//! So from its second crash on a job is a *suspect*. A process runs at most one suspect at a time,
//! whichever of its workers has it and whether or not that still holds its lease, beside as many others as it likes. One
//! that is written off does not count, since it may never end. A crash is *held* against a job only if it was the suspect of
//! its process, and two held crashes quarantine it. A job that kills its process each time does so
//! four times. A neighbor of it is never quarantined: once both are suspects they never run in
//! one process again. Three deploys by SIGKILL over a job of six hours leave it with one held crash.
//!
//! A run that ends in any way clears its job: the process lived.

/// Crashes that make a suspect: 2. One is bad luck, and being run alone costs a job its place in
/// the crowd.
pub const SUSPECT_FROM: u16 = 2;

/// Held crashes that quarantine: 2. One may be a deploy or a machine that went down.
pub const HELD_MAX: u16 = 2;

/// The crashes of a job since a run of it last came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crashes {
    /// How many processes died while they held it.
    pub all: u16,
    /// How many of those held it as their only suspect.
    pub held: u16,
}

impl Crashes {
    /// Tells whether it has to be the only one of its kind in a process.
    pub fn is_suspect(self) -> bool {
        self.all >= SUSPECT_FROM
    }

    /// Counts a crash of the process that held it.
    #[must_use]
    pub fn after_crash(self) -> Self {
        Self {
            all: self.all.saturating_add(1),
            held: self.held.saturating_add(u16::from(self.is_suspect())),
        }
    }

    /// Tells whether it must not be run again.
    pub fn is_over(self) -> bool {
        self.held >= HELD_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(crashes: u16) -> Crashes {
        (0..crashes).fold(Crashes::default(), |known, _| known.after_crash())
    }

    #[test]
    fn a_job_that_kills_its_process_each_time_does_so_four_times() {
        let over: Vec<bool> = (0..=4).map(|crashes| after(crashes).is_over()).collect();

        assert_eq!(over, [false, false, false, false, true]);
    }

    #[test]
    fn a_job_is_a_suspect_from_its_second_crash_on() {
        let suspect: Vec<bool> = (0..=3).map(|crashes| after(crashes).is_suspect()).collect();

        assert_eq!(suspect, [false, false, true, true]);
    }

    #[test]
    fn three_deploys_by_kill_do_not_quarantine() {
        assert!(!after(3).is_over());
    }

    #[test]
    fn counts_stay_at_their_end() {
        let full = Crashes {
            all: u16::MAX,
            held: u16::MAX,
        };

        assert_eq!(full.after_crash(), full);
    }

    /// Two processes with fifty permits each, one job that kills its process within a second, and
    /// innocent ones that take half a minute or more.
    #[test]
    fn no_neighbor_of_a_job_that_kills_is_quarantined() {
        for seed in 0..8 {
            let world = World::run(seed);

            assert!(world.jobs[0].crashes.is_over(), "seed {seed}");
            for (number, job) in world.jobs.iter().enumerate().skip(1) {
                assert!(!job.crashes.is_over(), "seed {seed}: job {number} {job:?}");
                assert!(job.done, "seed {seed}: job {number} {job:?}");
            }
        }
    }

    #[derive(Debug, Clone, Copy, Default)]
    struct Job {
        crashes: Crashes,
        takes: u32,
        done: bool,
        on: Option<usize>,
        left: u32,
    }

    struct World {
        jobs: Vec<Job>,
        bits: u64,
    }

    impl World {
        fn run(seed: u64) -> Self {
            let mut world = World {
                jobs: vec![Job::default(); 200],
                bits: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            };
            for number in 0..200 {
                let takes = 27 + (world.draw() % 64) as u32;
                world.jobs[number].takes = if number == 0 { 1 } else { takes };
            }
            for _ in 0..2_000 {
                world.claim();
                world.second();
            }
            world
        }

        fn draw(&mut self) -> u64 {
            self.bits ^= self.bits << 13;
            self.bits ^= self.bits >> 7;
            self.bits ^= self.bits << 17;
            self.bits
        }

        fn claim(&mut self) {
            for process in 0..2 {
                let mut running = self
                    .jobs
                    .iter()
                    .filter(|job| job.on == Some(process))
                    .count();
                let mut suspect = self
                    .jobs
                    .iter()
                    .any(|job| job.on == Some(process) && job.crashes.is_suspect());
                let start = (self.draw() % 200) as usize;
                for number in (0..200).map(|offset| (start + offset) % 200) {
                    let job = &mut self.jobs[number];
                    let free = !job.done && job.on.is_none() && !job.crashes.is_over();
                    if running == 50 || !free || (suspect && job.crashes.is_suspect()) {
                        continue;
                    }
                    suspect |= job.crashes.is_suspect();
                    running += 1;
                    (job.on, job.left) = (Some(process), job.takes);
                }
            }
        }

        fn second(&mut self) {
            for job in self.jobs.iter_mut().filter(|job| job.on.is_some()) {
                job.left -= 1;
            }
            if self.jobs[0].on.is_some() && self.jobs[0].left == 0 {
                let dead = self.jobs[0].on;
                for job in self.jobs.iter_mut().filter(|job| job.on == dead) {
                    job.crashes = job.crashes.after_crash();
                    job.on = None;
                }
            }
            for job in self
                .jobs
                .iter_mut()
                .filter(|job| job.on.is_some() && job.left == 0)
            {
                (job.done, job.on) = (true, None);
            }
        }
    }
}
