/** All that the guest proves of the driver itself, as one module: so it is loaded once. */
import "./cases.ts";
import "./errors.ts";
import "./removal.ts";
