//! Environments side by side in a process of Python: rows, whose numbers lie in memory that both see.

use std::io::ErrorKind;

use ad::DType;
use rl::env::{Action, Actor, Slot, Step};
use rl::rollout::Space;
use serde::Deserialize;
use serde_json::json;

use super::error::{Error, Result};
use super::memory::Memory;
use super::process::{Process, Start};

/// How many environments a process has: as many trajectories as act together.
const ROWS: usize = Actor::BLOCK;

/// What environments are, and the versions of what decides over their bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub spaces: [Space; 2],
    pub versions: Vec<(String, String)>,
}

/// The environments of a process.
#[derive(Debug)]
pub struct Server {
    process: Process,
    pub facts: Facts,
    memory: Memory,
    places: Places,
}

/// The first answer of a process.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Greeting {
    observation: Spoken,
    action: Spoken,
    versions: Vec<(String, String)>,
}

/// A space, as Python says it.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Spoken {
    Discrete { count: usize },
    Box { shape: Vec<usize>, dtype: String },
}

/// Where arrays lie in memory, in bytes. Each has an entry for each row.
#[derive(Clone, Copy, Debug)]
struct Places {
    observations: usize,
    /// The bytes of one.
    observation: usize,
    actions: usize,
    /// The bytes of one.
    action: usize,
    rewards: usize,
    terminated: usize,
    truncated: usize,
    goes_on: usize,
    seeds: usize,
    size: usize,
}

impl Places {
    /// One array behind the other, each at the begin of a cache line; nothing if there is no such number of bytes.
    fn of([observation, action]: &[Space; 2]) -> Option<Self> {
        let mut size: usize = 0;
        let mut place = |bytes: usize| {
            let at = size;
            size = size.checked_add(bytes.checked_mul(ROWS)?)?.checked_next_multiple_of(64)?;
            Some(at)
        };
        let observation = observation.size().checked_mul(observation.dtype().bytes())?;
        let action = action.size().checked_mul(8)?;
        let (observations, actions, rewards) = (place(observation)?, place(action)?, place(8)?);
        let (terminated, truncated, goes_on, seeds) = (place(1)?, place(1)?, place(1)?, place(4)?);
        Some(Self { observations, observation, actions, action, rewards, terminated, truncated, goes_on, seeds, size })
    }
}

impl Spoken {
    /// Observations of this space; why not, for one that no policy here is for.
    fn observations(self) -> std::result::Result<Space, String> {
        let (shape, dtype) = match self {
            Spoken::Discrete { count } => return numbered(count),
            Spoken::Box { shape, dtype } => (shape, dtype),
        };
        let dtype = match &*dtype {
            "float32" => DType::F32,
            "float64" => DType::F64,
            "uint8" => DType::U8,
            other => return Err(format!("observations are of type {other}")),
        };
        // A number without axes is a vector of one.
        let shape = if shape.is_empty() { vec![1] } else { shape };
        if shape.contains(&0) {
            return Err(format!("observations have shape {shape:?}: there is nothing to see"));
        }
        Ok(Space::Array { shape, dtype })
    }

    /// Actions of this space, as a policy gives them: vectors in double precision.
    fn actions(self) -> std::result::Result<Space, String> {
        match self {
            Spoken::Discrete { count } => numbered(count),
            Spoken::Box { shape, .. } => match shape.into_iter().try_fold(1, usize::checked_mul) {
                Some(size @ 1..) => Ok(Space::vector(size)),
                _ => Err("actions have no components, or too many".to_owned()),
            },
        }
    }
}

fn numbered(count: usize) -> std::result::Result<Space, String> {
    if (1..=i32::MAX as usize).contains(&count) {
        Ok(Space::Discrete(count))
    } else {
        Err(format!("there are {count} numbers in a space, but it can have 1 to {}", i32::MAX))
    }
}

impl Server {
    /// Starts a process, which makes its environments.
    pub fn start(start: &Start) -> Result<Self> {
        let id = || start.id.clone();
        let (mut process, greeting) = Process::start(start, ROWS)?;
        let Greeting { observation, action, versions } =
            Greeting::deserialize(greeting).map_err(|cause| process.unclear(&cause.to_string()))?;
        let spaces = observation.observations().and_then(|observation| Ok([observation, action.actions()?]));
        let spaces = spaces.map_err(|what| Error::Unsupported { id: id(), what })?;
        let no_room = |cause| Error::System { id: id(), what: "memory for observations", cause };
        let places = Places::of(&spaces).ok_or_else(|| no_room(ErrorKind::OutOfMemory.into()))?;
        let (memory, name) = Memory::new(places.size).map_err(no_room)?;
        let path = name.path().to_str().ok_or_else(|| no_room(ErrorKind::InvalidFilename.into()))?;
        let Places { observations, actions, rewards, terminated, truncated, goes_on, seeds, size, .. } = places;
        let said = json!({
            "path": path, "size": size, "observations": observations, "actions": actions, "rewards": rewards,
            "terminated": terminated, "truncated": truncated, "goes_on": goes_on, "seeds": seeds,
        });
        process.share(&said, start)?;
        Ok(Self { process, facts: Facts { spaces, versions }, memory, places })
    }

    /// Begins episodes in the first rows, from these seeds.
    pub fn reset(&mut self, seeds: &[u32]) -> Result<()> {
        let signed: Vec<i32> = seeds.iter().map(|&seed| i32::try_from(seed).expect("a seed is below 2^31")).collect();
        assert!(signed.len() <= ROWS, "there are {ROWS} rows, not {}", signed.len());
        self.memory.write(self.places.seeds, &signed);
        self.mark(&vec![true; seeds.len()]);
        self.process.command(b'r', "begin an episode")
    }

    /// What is to be done in a row.
    pub fn act(&mut self, row: usize, action: Action<'_>) {
        let at = self.places.actions + row * self.places.action;
        match action {
            Action::Number(number) => self.memory.write(at, &[number as i64]),
            Action::Vector(vector) => self.memory.write(at, vector),
        }
    }

    /// Makes a step in the rows that go on.
    pub fn step(&mut self, goes_on: &[bool]) -> Result<()> {
        self.mark(goes_on);
        self.process.command(b's', "make a step")
    }

    /// What is seen in a row, and what the last step there led to.
    pub fn look(&self, row: usize, observation: Slot<'_>) -> Step {
        let at = self.places.observations + row * self.places.observation;
        match observation {
            Slot::F64(entries) => self.memory.read(at, entries),
            Slot::F32(entries) => self.memory.read(at, entries),
            Slot::I32(entries) => self.memory.read(at, entries),
            Slot::U8(entries) => self.memory.read(at, entries),
        }
        let (mut reward, mut terminated, mut truncated) = ([0.0_f64], [0_u8], [0_u8]);
        self.memory.read(self.places.rewards + row * 8, &mut reward);
        self.memory.read(self.places.terminated + row, &mut terminated);
        self.memory.read(self.places.truncated + row, &mut truncated);
        Step { reward: reward[0], terminated: terminated != [0], truncated: truncated != [0] }
    }

    /// Says which rows go on: of those behind, none does.
    fn mark(&mut self, goes_on: &[bool]) {
        let mut bytes = [0_u8; ROWS];
        bytes.iter_mut().zip(goes_on).for_each(|(byte, &goes_on)| *byte = goes_on.into());
        self.memory.write(self.places.goes_on, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_do_not_overlap() {
        let spaces = [Space::Array { shape: vec![3, 5], dtype: DType::U8 }, Space::vector(3)];
        let Places { observations, actions, rewards, terminated, truncated, goes_on, seeds, size, .. } =
            Places::of(&spaces).unwrap();
        let places = [observations, actions, rewards, terminated, truncated, goes_on, seeds, size];
        let sizes = [15, 24, 8, 1, 1, 1, 4].map(|bytes| bytes * ROWS);
        for (number, bytes) in sizes.into_iter().enumerate() {
            let room = places[number + 1] - places[number];
            assert!(room >= bytes && room < bytes + 64 && places[number].is_multiple_of(64), "{places:?}");
        }
        let endless = Space::Array { shape: vec![usize::MAX / 2], dtype: DType::F64 };
        assert!(Places::of(&[endless, Space::Discrete(2)]).is_none());
    }

    #[test]
    fn spaces_are_what_policies_are_for() {
        let of = |shape: &[usize], dtype: &str| Spoken::Box { shape: shape.to_vec(), dtype: dtype.to_owned() };
        assert_eq!(of(&[], "float32").observations(), Ok(Space::Array { shape: vec![1], dtype: DType::F32 }));
        assert_eq!(of(&[2, 3], "uint8").observations(), Ok(Space::Array { shape: vec![2, 3], dtype: DType::U8 }));
        assert_eq!(of(&[2, 3], "float32").actions(), Ok(Space::vector(6)));
        assert_eq!(of(&[], "float32").actions(), Ok(Space::vector(1)));
        for wrong in [of(&[2], "int64"), of(&[2, 0], "float32"), Spoken::Discrete { count: 0 }] {
            assert!(wrong.observations().is_err());
        }
        assert!(of(&[0], "float32").actions().is_err());
        assert!(Spoken::Discrete { count: 1 << 31 }.actions().is_err());
    }
}
