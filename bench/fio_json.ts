/** Runs a command that prints fio's JSON; what the tables of bench/ share. */

/** What one run gave. */
export interface Measurement {
  readonly iops: number;
  readonly cpuMicroseconds: number;
}

/** The part of fio's JSON, which is also ours, that the tables need. */
interface FioReport {
  readonly jobs: readonly [{
    readonly read: { readonly iops: number };
    readonly usr_cpu: number;
    readonly sys_cpu: number;
  }];
}

/** Runs a command that prints fio's JSON, and reads it. */
export async function measure(command: string, args: readonly string[]): Promise<Measurement> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  if (code !== 0) throw new Error(`Cannot measure ${command}: ${new TextDecoder().decode(stderr)}`);
  const report: FioReport = JSON.parse(new TextDecoder().decode(stdout));
  const [job] = report.jobs;
  const { iops } = job.read;
  return { iops, cpuMicroseconds: (job.usr_cpu + job.sys_cpu) * 1e4 / iops };
}

/** IOPS in thousands. */
export function kilo(iops: number): string {
  return (iops / 1000).toFixed(1);
}
