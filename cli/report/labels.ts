/**
 * Places labels one above the other: each as near to where it is wanted as the others let it, `gap` apart, between 0 and
 * `limit` where there is room. Returns the places in the order of `wanted`.
 */
export function spreadLabels(wanted: readonly number[], gap: number, limit: number): number[] {
  const order = wanted.map((_, index) => index).sort((a, b) => wanted[a]! - wanted[b]! || a - b);
  // Groups of labels that touch move together, to the mean of what their members want (pool adjacent violators).
  const groups: { members: number[]; centre: number }[] = [];
  const half = (members: readonly number[]) => ((members.length - 1) * gap) / 2;
  for (const index of order) {
    let group = { members: [index], centre: wanted[index]! };
    for (let last = groups.at(-1); last !== undefined; last = groups.at(-1)) {
      if (last.centre + half(last.members) + gap <= group.centre - half(group.members)) break;
      groups.pop();
      const members = [...last.members, ...group.members];
      const mean = members.reduce((sum, member) => sum + wanted[member]!, 0) / members.length;
      const centre = Math.min(Math.max(mean, half(members)), Math.max(limit - half(members), half(members)));
      group = { members, centre };
    }
    groups.push(group);
  }
  const placed: number[] = [];
  for (const { members, centre } of groups) {
    const top = centre - half(members);
    for (const [position, member] of members.entries()) placed[member] = top + position * gap;
  }
  return placed;
}
