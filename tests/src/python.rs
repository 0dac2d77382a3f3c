// SPDX-License-Identifier: Apache-2.0
//! Programs of the Python packages in `requirements.txt`.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::exporter::beside_test;

/// A program of the environment that `packages/python.sh` makes: `FLOWGAUGE_TEST_PYTHON`, else the one beside this test.
pub fn program(name: &str) -> Result<PathBuf> {
    let directory = match env::var_os("FLOWGAUGE_TEST_PYTHON") {
        Some(directory) => PathBuf::from(directory),
        None => beside_test("../python")?,
    };
    let path = directory.join("bin").join(name);
    ensure!(
        path.is_file(),
        "{} is missing: packages/python.sh tests/requirements.txt {}",
        path.display(),
        directory.display()
    );
    Ok(path)
}
