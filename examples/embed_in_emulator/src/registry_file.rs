//! A file that keeps Cloud Map's registry while the emulator is down.
//!
//! A durable registry is another matter: it stores a change before it answers the request, see [`sd_core::stored`]. Here a
//! thread writes the whole registry after the answer, so a crash may lose the newest changes.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, Scope, State, StateCell,
    store::{Attached, Observer},
    stored::{Facts, Operation},
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Stored {
    facts: Facts,
    /// The operations that have finished.
    operations: Vec<Operation>,
}

/// The registry of a file. Without the file it is empty.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<MemoryRegistry, Box<dyn Error>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(MemoryRegistry::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
    };
    let restore = || -> Result<MemoryRegistry, Box<dyn Error>> {
        let Stored { facts, operations } = serde_json::from_slice(&text)?;
        Ok(MemoryRegistry::restored(State::restore(facts)?, operations)?)
    };
    restore().map_err(|error| format!("{} is not a registry: {error}", path.display()).into())
}

/// Writes the registry to the file whenever it has changed, until the result is dropped.
///
/// # Errors
/// The thread that writes cannot be started.
pub fn keep(path: PathBuf, cell: &StateCell) -> io::Result<Attached> {
    // One place: changes that come during a write are written together.
    let (changed, changes) = sync_channel(1);
    let writer_cell = cell.clone();
    thread::Builder::new().name("registry-file".to_owned()).spawn(move || {
        while changes.recv().is_ok() {
            if let Err(error) = write(&path, &writer_cell) {
                let _ = writeln!(
                    io::stderr(),
                    "cannot write {}, will try again after the next change: {error}",
                    path.display()
                );
            }
        }
    })?;
    Ok(cell.attach(Arc::new(Changed(changed))))
}

/// Writes another file first, so that the file is always a whole one.
fn write(path: &Path, cell: &StateCell) -> io::Result<()> {
    // A fork has the state and the operations of the same moment.
    let fork = cell.fork();
    let facts = Facts::of(&fork.cell().load());
    let stored = Stored { facts, operations: fork.cell().operations().stored() };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = BufWriter::new(File::create(&new)?);
    serde_json::to_writer(&mut file, &stored)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(new, path)
}

/// Wakes the writer. Changes may not wait for it.
#[derive(Debug)]
struct Changed(SyncSender<()>);

impl Observer for Changed {
    fn changed(&self, _: &State, _: &State, _: &Scope, _: &[Change]) {
        let _ = self.0.try_send(());
    }

    fn rebuild(&self, _: &State) {
        let _ = self.0.try_send(());
    }
}
