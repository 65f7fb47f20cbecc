/**
 * C struct layouts as data: one table per struct, from which offsets are read and which a C probe compiled at
 * test time compares with the real headers. No literal offset stands anywhere else.
 */

/** Kinds of scalar fields that are read and written; a pointer is read as two u32 halves or a bigint. */
export type FieldKind = "u8" | "u16" | "i16" | "u32" | "i32" | "u64" | "i64" | "pointer" | "bytes";

/** One field: its C name (which may be a path such as `cq.ring_ptr`), kind and byte offset. */
interface Field {
  /** Name in C, for the probe. */
  readonly name: string;
  /** How it is read. */
  readonly kind: FieldKind;
  /** Byte offset from the start of the struct. */
  readonly offset: number;
}

/** A struct: C type name, header, size in bytes, fields by the names that TypeScript uses. */
export interface StructLayout<Names extends string = string> {
  /** C type, such as `struct io_uring_sqe`. */
  readonly cType: string;
  /** Header that declares it. */
  readonly header: string;
  /** sizeof in bytes. */
  readonly byteLength: number;
  /** Fields by name. */
  readonly fields: Readonly<Record<Names, Field>>;
}

/** Declares a layout: `fields` maps a TypeScript name to `[C name, kind, offset]`. */
export function struct<Names extends string>(
  cType: string,
  header: string,
  byteLength: number,
  fields: Readonly<Record<Names, readonly [name: string, kind: FieldKind, offset: number]>>,
): StructLayout<Names> {
  const table = {} as Record<Names, Field>;
  for (const key of Object.keys(fields) as Names[]) {
    const [name, kind, offset] = fields[key];
    table[key] = { name, kind, offset };
  }
  return { cType, header, byteLength, fields: table };
}

/** Index of `field` in a Uint32Array over the struct. The field must be 4-byte aligned. */
export function wordIndex<Names extends string>(layout: StructLayout<Names>, field: Names): number {
  const offset = layout.fields[field].offset;
  if (offset % 4 !== 0) throw new RangeError(`Cannot index ${layout.cType}.${field} by words: wanted a multiple of 4`);
  return offset / 4;
}
