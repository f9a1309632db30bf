/** The database's worker, broken as its name says. The faults are set before the worker's own program is evaluated. */

import "./sqlite_faults.ts";
import "../broker/sqlite/worker.ts";
