// Runs hooks and the actions made of them, each in stubs of its own world, and tells what they did.
//
// stdin: [{trigger, inputs: [{given, event}], codes: {hook, wrap, rewrite}}], stdout: for each, by
// the name of the code, what happened with every input. Time is pretended: timers run in their
// order as soon as nothing else is left to run, so that "never" can be told without waiting.

const vm = require("vm");

class PreUserRegistrationError extends Error {
  constructor(message, userMessage) {
    super(message);
    this.userMessage = userMessage;
  }
}
const ERRORS = {
  "pre-user-registration": { PreUserRegistrationError },
  "credentials-exchange": {
    InvalidScopeError: class InvalidScopeError extends Error {},
    InvalidRequestError: class InvalidRequestError extends Error {},
    ServerError: class ServerError extends Error {},
  },
};

const plain = (value) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));
const told = (error) =>
  error instanceof Error
    ? { kind: error.constructor.name, message: error.message, userMessage: error.userMessage ?? null }
    : { kind: null, message: plain(error?.message ?? error), userMessage: error?.userMessage ?? null };

// The packages that scripts load: each call is noted, and answered from what it was called with.
function packages(did) {
  const called = (name) => (...given) => {
    did.push([name, plain(given.filter((each) => typeof each !== "function"))]);
    const done = given.find((each) => typeof each === "function");
    const failed = JSON.stringify(given).includes("down.example") ? new Error("no route") : null;
    const answer = { statusCode: 200, status: 200, data: { ok: true, roles: ["a", "b"] } };
    if (done) return void Promise.resolve().then(() => done(failed, answer, { ok: true }));
    return failed ? Promise.reject(failed) : Promise.resolve(answer);
  };
  const client = Object.assign(called("request"), {
    get: called("get"),
    post: called("post"),
    put: called("put"),
  });
  return {
    axios: client,
    request: client,
    "@acme/notify": { send: called("send") },
    "lodash/get": (object, path) => path.split(".").reduce((at, key) => at?.[key], object),
    twilio: (...keys) => ({ messages: { create: (m) => called("twilio")(keys, m) } }),
  };
}

const BARE = /^(@[^/]+\/[^@/]+|[^@/]+)@[^/]+/;

function world(trigger, isHook) {
  const did = [];
  const timers = [];
  const loads = packages(did);
  const wait = (work, ms = 0, ...given) => {
    timers.push({ ms, work: () => work(...given) });
    return timers.length;
  };
  const scope = {
    console: Object.fromEntries(
      ["log", "info", "warn", "error"].map((word) => [
        word,
        (...given) => did.push([word, given.map((each) => (each instanceof Error ? told(each) : plain(each)))]),
      ]),
    ),
    require: (name) => {
      const bare = isHook ? name.replace(BARE, "$1") : name;
      did.push(["require", bare]);
      return loads[bare] ?? require(bare);
    },
    setTimeout: wait,
  };
  const settle = async () => {
    for (;;) {
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      const next = timers.sort((a, b) => a.ms - b.ms).shift();
      if (next === undefined) return;
      try {
        next.work();
      } catch (error) {
        did.push(["crash", told(error)]);
      }
    }
  };
  const load = (code) => {
    const module = { exports: {} };
    const names = ["exports", "require", "module", "console", "setTimeout"];
    const run = vm.compileFunction(code, names);
    run.call(module.exports, module.exports, scope.require, module, scope.console, scope.setTimeout);
    return module.exports;
  };
  return { did, settle, load };
}

async function asHook(trigger, code, inputs) {
  const { did, settle, load } = world(trigger, true);
  Object.assign(globalThis, ERRORS[trigger]);
  const hook = load(code);
  const all = [];
  for (const { given } of inputs) {
    let end = null;
    const callback = (error, response) => {
      end ??= { called: [error ? told(error) : null, plain(response)] };
    };
    const threw = (error) => {
      end ??= { thrown: told(error) };
    };
    try {
      const returned = hook(...JSON.parse(JSON.stringify(given)), callback);
      if (returned instanceof Promise) returned.catch(threw);
    } catch (error) {
      threw(error);
    }
    await settle();
    all.push({ did: did.splice(0), end });
  }
  for (const name of Object.keys(ERRORS[trigger] ?? {})) delete globalThis[name];
  return all;
}

const frozen = (value) => {
  if (value instanceof Object) Object.values(value).forEach(frozen);
  return Object.freeze(value);
};

async function asAction(trigger, code, inputs) {
  const { did, settle, load } = world(trigger, false);
  const [run] = Object.values(load(code));
  const all = [];
  for (const { event } of inputs) {
    let end = null;
    const called = [];
    const note = (name) => (...given) => {
      while (given.length && given[given.length - 1] === undefined) given.pop();
      called.push([name, plain(given)]);
    };
    const api = {
      access: { deny: note("deny") },
      accessToken: { setCustomClaim: note("setCustomClaim") },
      user: { setUserMetadata: note("setUserMetadata"), setAppMetadata: note("setAppMetadata") },
    };
    run(frozen(JSON.parse(JSON.stringify(event))), api).then(
      () => (end = { called }),
      (error) => (end = { thrown: told(error), called }),
    );
    await settle();
    all.push({ did: did.splice(0), end });
  }
  return all;
}

async function main() {
  process.on("unhandledRejection", () => {}); // told by what the hook did, or did not do
  const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const known = new Set(Object.getOwnPropertyNames(globalThis));
  const answers = [];
  for (const { trigger, codes, inputs } of cases) {
    const answer = {};
    for (const [name, code] of Object.entries(codes)) {
      const run = name === "hook" ? asHook : asAction;
      answer[name] = await run(trigger, code, inputs).catch((error) => ({ broken: String(error.stack) }));
      for (const made of Object.getOwnPropertyNames(globalThis)) {
        if (!known.has(made)) delete globalThis[made];
      }
    }
    answers.push(answer);
  }
  process.stdout.write(JSON.stringify(answers));
}

main();
