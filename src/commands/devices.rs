//! Where models run, for a person who left that to the program, and where they no longer do.
//!
//! Said on standard error, so that results on standard output stay what programs read, and after the work, so that a
//! refused command says one sentence only.

use std::collections::HashSet;

use super::printer::note;
use picsift_udf::Engine;
use picsift_vision::{DeviceChoice, LoadOptions, ModelInfo, why_no_cuda};

/// The lines that have been said already.
#[derive(Debug, Default)]
pub(super) struct Devices {
    said: HashSet<String>,
}

impl Devices {
    /// Says once of each loaded model which device was chosen for it, where `auto` was asked for, and how many of its devices have
    /// broken.
    pub(super) fn say(&mut self, engine: &Engine) {
        for (options, service) in engine.services() {
            let info = service.info();
            let chosen = self.line(&options, info);
            let lost = self.lost(info, service.stats().lost, service.devices());
            for line in chosen.into_iter().chain(lost) {
                note!("{line}");
            }
        }
    }

    fn lost(&mut self, info: &ModelInfo, lost: u64, devices: usize) -> Option<String> {
        if lost == 0 {
            return None;
        }
        let line = format!(
            "{lost} of the {devices} devices of {} broke ({}); the others have taken over what was theirs",
            info.name, info.device
        );
        self.said.insert(line.clone()).then_some(line)
    }

    fn line(&mut self, options: &LoadOptions, info: &ModelInfo) -> Option<String> {
        if options.device != DeviceChoice::Auto {
            return None;
        }
        let mut line = format!("{} runs on {}, {}", info.name, info.device, info.dtype);
        if info.device == "cpu"
            && let Some(reason) = why_no_cuda(&info.name)
        {
            line.push_str(&format!(": {reason}"));
        }
        self.said.insert(line.clone()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use picsift_udf::EngineOptions;

    use super::*;

    #[test]
    fn a_chosen_or_broken_device_is_said_once_and_a_given_one_never() {
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let auto = LoadOptions::default();
        engine
            .service(picsift_vision::DEFAULT_MODEL, &auto)
            .unwrap();
        let (_, info) = engine.loaded().remove(0);
        let mut devices = Devices::default();
        assert_eq!(
            devices.line(&auto, &info).as_deref(),
            Some("pocket runs on cpu, f32")
        );
        assert_eq!(devices.line(&auto, &info), None);
        assert_eq!(devices.lost(&info, 0, 4), None);
        let broke = devices.lost(&info, 1, 4);
        assert!(broke.is_some_and(|line| line.starts_with("1 of the 4 devices of pocket broke")));
        assert_eq!(devices.lost(&info, 1, 4), None);
        let given = LoadOptions {
            device: DeviceChoice::Cpu,
            ..auto
        };
        assert_eq!(Devices::default().line(&given, &info), None);
    }
}
