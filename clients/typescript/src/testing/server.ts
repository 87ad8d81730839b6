import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { createClient, type Client } from "@connectrpc/connect";

import { type Cofactor, type Redeemed } from "../client.js";
import { ClockService } from "../gen/cofactor/testing/v1/clock_pb.js";
import { OutboxService, type Message } from "../gen/cofactor/testing/v1/outbox_pb.js";
import { connect, tlsFiles, type Connecting } from "../node.js";

/** What a server in test mode tells of itself: `demo.json`. */
export interface Demo {
  readonly http: string;
  readonly grpc: string;
  readonly issuer: string;
  readonly client_id: string;
  readonly client_secret: string;
  readonly username: string;
  readonly password: string;
  readonly realm: string;
  readonly audience: string;
  readonly test: {
    readonly grpc_tls: string;
    readonly ca_file: string;
    readonly certificate_file: string;
    readonly key_file: string;
    readonly tls_client_id: string;
  };
}

/** A server in test mode, `cofactor demo --test`: its clock can be moved, and what it sends is read. */
export class TestServer {
  readonly #folder: string | undefined;
  /** A client without credentials, as a device has it. */
  readonly anyone: Cofactor;
  readonly #clock: Client<typeof ClockService>;
  readonly #outbox: Client<typeof OutboxService>;
  #demo: Demo;
  #process: ChildProcess | undefined;

  private constructor(demo: Demo, folder?: string, process?: ChildProcess) {
    this.#demo = demo;
    this.#folder = folder;
    this.#process = process;
    this.anyone = connect(demo.grpc, { tls: false });
    this.#clock = createClient(ClockService, this.anyone.transport);
    this.#outbox = createClient(OutboxService, this.anyone.transport);
  }

  /** Start a throw-away server by `$COFACTOR_COMMAND` (default `cofactor`), on ports that are free. */
  static async start(): Promise<TestServer> {
    const folder = await mkdtemp(join(tmpdir(), "cofactor-"));
    try {
      const [process, demo] = await started(folder, "0", "0");
      return new TestServer(demo, folder, process);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Join the running server whose `demo.json` is at `path`, by default `$COFACTOR_DEMO`; without one, start one. */
  static async join(path: string | undefined = process.env["COFACTOR_DEMO"]): Promise<TestServer> {
    return path ? new TestServer(JSON.parse(await readFile(path, "utf8")) as Demo) : TestServer.start();
  }

  get demo(): Demo {
    return this.#demo;
  }

  /** Return a client of it, by default with the demo client's credentials. */
  connect(connecting: Connecting = {}): Cofactor {
    const { client_id: clientId, client_secret: clientSecret } = this.#demo;
    return connect(this.#demo.grpc, { clientId, clientSecret, tls: false, ...connecting });
  }

  /** Return a client that its certificate stands for. */
  connectTls(connecting: Connecting = {}): Cofactor {
    const { grpc_tls, ca_file, certificate_file, key_file, tls_client_id: clientId } = this.#demo.test;
    const tls = tlsFiles({ ca: ca_file, certificate: certificate_file, key: key_file });
    return connect(grpc_tls, { clientId, tls, ...connecting });
  }

  /** The server's time. */
  async now(): Promise<Date> {
    const { time } = await this.#clock.getTime({});
    return timestampDate(time!);
  }

  /** Move the server's clock forward, for everybody, and return its time. */
  async advance(seconds: number): Promise<Date> {
    const { time } = await this.#clock.advanceTime({ by: { seconds: BigInt(seconds) } });
    return timestampDate(time!);
  }

  /** What was sent to an address, newest last; without one, to anybody. */
  async messages(to = ""): Promise<Message[]> {
    return (await this.#outbox.listMessages({ to })).messages;
  }

  /** Vouch for the first factor of a user, by default a new one. */
  async vouch(client: Cofactor, subject: string = crypto.randomUUID()): Promise<Redeemed> {
    const seconds = BigInt(Math.floor((await this.now()).getTime() / 1_000));
    const value = { realm: this.#demo.realm, subject, methods: ["pwd"], authenticateTime: { seconds } };
    const outcome = await client.issue({ grant: { case: "vouched", value } });
    if (outcome.case === "pending") {
      throw new Error("nothing is pending after a vouch");
    }
    return outcome;
  }

  /** Stop it as an operator does, and forget it; one that was only joined is left alone. */
  async stop(): Promise<void> {
    this.anyone.close();
    await this.#stopped();
    if (this.#folder !== undefined) {
      await rm(this.#folder, { recursive: true, force: true });
    }
  }

  /** Stop it, and start it again with what it knows, on the same ports (but for the one with TLS). */
  async restart(): Promise<void> {
    if (this.#folder === undefined) {
      throw new Error("a server that was joined is another's to restart");
    }
    await this.#stopped();
    const [http, grpc] = [new URL(this.#demo.http).port, this.#demo.grpc.split(":").at(-1)!];
    [this.#process, this.#demo] = await started(this.#folder, http, grpc);
  }

  async #stopped(): Promise<void> {
    const process = this.#process;
    if (process !== undefined && process.exitCode === null && process.signalCode === null) {
      const exited = once(process, "exit");
      process.kill("SIGTERM");
      await exited;
    }
  }
}

async function started(folder: string, http: string, grpc: string): Promise<[ChildProcess, Demo]> {
  const [command, ...words] = (process.env["COFACTOR_COMMAND"] || "cofactor").split(" ").filter(Boolean);
  const options = ["demo", "--test", "--state-dir", folder, "--http-port", http, "--grpc-port", grpc];
  const child = spawn(command!, [...words, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  const end = () => child.kill("SIGTERM"); // nothing stays behind when this process ends first
  process.once("exit", end);
  child.once("exit", () => process.removeListener("exit", end));
  let said = "";
  child.stderr.on("data", (part: Buffer) => (said = (said + part.toString()).slice(-4_000)));
  const lines = createInterface({ input: child.stdout });
  const line = await new Promise<string>((resolve, reject) => {
    lines.once("line", resolve);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
  });
  return [child, JSON.parse(line) as Demo];
}
