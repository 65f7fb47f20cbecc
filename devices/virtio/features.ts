/** A feature by the number of its bit, or as a table of constants has it. */
type FeatureBit = number | { readonly value: number };

function mask(bit: FeatureBit): bigint {
  return 1n << BigInt(typeof bit === "number" ? bit : bit.value);
}

/** These features as one number. */
export function featureBits(...bits: readonly FeatureBit[]): bigint {
  return bits.reduce<bigint>((features, bit) => features | mask(bit), 0n);
}

/** True when `features` has the bit. */
export function hasFeature(features: bigint, bit: FeatureBit): boolean {
  return (features & mask(bit)) !== 0n;
}
