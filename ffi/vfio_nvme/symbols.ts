import type { LibrarySpec } from "../loader.ts";
import { nativeFileName } from "../native.ts";

/** Our own helper in C, built by `deno task build:nvme`. Opened under the name of the sources that are here now. */
export function vfioNvmeLibrary(): LibrarySpec {
  const file = nativeFileName("vfio_nvme");
  return {
    name: "vfio_nvme",
    sonames: file === null ? [] : [file],
    overrideVariable: "PLUGIO_VFIO_NVME",
    packages: { debian: "gcc libc6-dev", fedora: "gcc glibc-devel", arch: "gcc glibc" },
    built: "deno task build:nvme",
  };
}

/** The functions of vfio_nvme.h: each returns 0 or −errno. */
export const VFIO_NVME_SYMBOLS = {
  // int vnv_open(const char *address, uint32_t flags, struct vnv **handle, struct vnv_info *info);
  vnv_open: {
    parameters: [
      "buffer", // address
      "u32", // flags
      "buffer", // handle
      "buffer", // info
    ],
    result: "i32",
  },
  // int vnv_close(struct vnv *handle);
  vnv_close: { parameters: ["pointer"], result: "i32" },
  // int vnv_load32(struct vnv *handle, uint32_t offset, uint32_t *value);
  vnv_load32: { parameters: ["pointer", "u32", "buffer"], result: "i32" },
  // int vnv_store32(struct vnv *handle, uint32_t offset, uint32_t value);
  vnv_store32: { parameters: ["pointer", "u32", "u32"], result: "i32" },
  // int vnv_map(struct vnv *handle, const void *memory, uint64_t bytes, uint64_t iova);
  vnv_map: {
    parameters: [
      "pointer", // handle
      "buffer", // memory
      "u64", // bytes
      "u64", // iova
    ],
    result: "i32",
  },
  // int vnv_unmap(struct vnv *handle, uint64_t bytes, uint64_t iova);
  vnv_unmap: { parameters: ["pointer", "u64", "u64"], result: "i32" },
  // int vnv_vectors(struct vnv *handle, uint32_t first, uint32_t count, const int32_t *eventfds);
  vnv_vectors: {
    parameters: [
      "pointer", // handle
      "u32", // first
      "u32", // count
      "buffer", // eventfds
    ],
    result: "i32",
  },
  // int vnv_on_request(struct vnv *handle, int32_t eventfd);
  vnv_on_request: { parameters: ["pointer", "i32"], result: "i32" },
  // int vnv_wait(int eventfd, int timeout_ms, uint64_t *count);
  vnv_wait: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  // int vnv_bus_master(struct vnv *handle, int on);
  vnv_bus_master: { parameters: ["pointer", "i32"], result: "i32" },
  // int vnv_reset(struct vnv *handle);
  vnv_reset: { parameters: ["pointer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
