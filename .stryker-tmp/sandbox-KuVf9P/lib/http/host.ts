// @ts-nocheck
function stryNS_9fa48() {
  var g = typeof globalThis === 'object' && globalThis && globalThis.Math === Math && globalThis || new Function("return this")();
  var ns = g.__stryker__ || (g.__stryker__ = {});
  if (ns.activeMutant === undefined && g.process && g.process.env && g.process.env.__STRYKER_ACTIVE_MUTANT__) {
    ns.activeMutant = g.process.env.__STRYKER_ACTIVE_MUTANT__;
  }
  function retrieveNS() {
    return ns;
  }
  stryNS_9fa48 = retrieveNS;
  return retrieveNS();
}
stryNS_9fa48();
function stryCov_9fa48() {
  var ns = stryNS_9fa48();
  var cov = ns.mutantCoverage || (ns.mutantCoverage = {
    static: {},
    perTest: {}
  });
  function cover() {
    var c = cov.static;
    if (ns.currentTestId) {
      c = cov.perTest[ns.currentTestId] = cov.perTest[ns.currentTestId] || {};
    }
    var a = arguments;
    for (var i = 0; i < a.length; i++) {
      c[a[i]] = (c[a[i]] || 0) + 1;
    }
  }
  stryCov_9fa48 = cover;
  cover.apply(null, arguments);
}
function stryMutAct_9fa48(id) {
  var ns = stryNS_9fa48();
  function isActive(id) {
    if (ns.activeMutant === id) {
      if (ns.hitCount !== void 0 && ++ns.hitCount > ns.hitLimit) {
        throw new Error('Stryker: Hit count limit reached (' + ns.hitCount + ')');
      }
      return true;
    }
    return false;
  }
  stryMutAct_9fa48 = isActive;
  return isActive(id);
}
import { isIPv6 } from 'node:net';
import { formatIPv6, parseIPv6 } from '../net/address.js';
export interface HostPort {
  /** In lower case; an IPv6 address keeps its brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

/**
 * `uri-host [ ":" port ]` (RFC 9110, section 7.2). Of a `reg-name` (RFC 3986, section 3.2.2) the sub-delimiters are
 * left out: no name on a network has them, and a comma would let two names merged by a proxy pass for one.
 */
const HOST = stryMutAct_9fa48("11") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\D{0,5})?$/ : stryMutAct_9fa48("10") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d)?$/ : stryMutAct_9fa48("9") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})$/ : stryMutAct_9fa48("8") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[^0-9A-Fa-f]{2})+)(?::\d{0,5})?$/ : stryMutAct_9fa48("7") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f])+)(?::\d{0,5})?$/ : stryMutAct_9fa48("6") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\W.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/ : stryMutAct_9fa48("5") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[^\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/ : stryMutAct_9fa48("4") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2}))(?::\d{0,5})?$/ : stryMutAct_9fa48("3") ? /^(?:\[[^0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/ : stryMutAct_9fa48("2") ? /^(?:\[[0-9A-Fa-f:.]\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/ : stryMutAct_9fa48("1") ? /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?/ : stryMutAct_9fa48("0") ? /(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/ : (stryCov_9fa48("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"), /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/);

/** Parses the value of a `Host` header; undefined when it is not one. An empty port counts as none. */
export function parseHost(value: string): HostPort | undefined {
  if (stryMutAct_9fa48("12")) {
    {}
  } else {
    stryCov_9fa48("12");
    if (stryMutAct_9fa48("15") ? false : stryMutAct_9fa48("14") ? true : stryMutAct_9fa48("13") ? HOST.test(value) : (stryCov_9fa48("13", "14", "15"), !HOST.test(value))) return undefined;
    // Colons inside brackets are an address's.
    const colon = value.indexOf(stryMutAct_9fa48("16") ? "" : (stryCov_9fa48("16"), ':'), stryMutAct_9fa48("17") ? value.indexOf(']') - 1 : (stryCov_9fa48("17"), value.indexOf(stryMutAct_9fa48("18") ? "" : (stryCov_9fa48("18"), ']')) + 1));
    const name = (stryMutAct_9fa48("22") ? colon >= 0 : stryMutAct_9fa48("21") ? colon <= 0 : stryMutAct_9fa48("20") ? false : stryMutAct_9fa48("19") ? true : (stryCov_9fa48("19", "20", "21", "22"), colon < 0)) ? value : stryMutAct_9fa48("23") ? value : (stryCov_9fa48("23"), value.slice(0, colon));
    const digits = (stryMutAct_9fa48("27") ? colon >= 0 : stryMutAct_9fa48("26") ? colon <= 0 : stryMutAct_9fa48("25") ? false : stryMutAct_9fa48("24") ? true : (stryCov_9fa48("24", "25", "26", "27"), colon < 0)) ? stryMutAct_9fa48("28") ? "Stryker was here!" : (stryCov_9fa48("28"), '') : stryMutAct_9fa48("29") ? value : (stryCov_9fa48("29"), value.slice(stryMutAct_9fa48("30") ? colon - 1 : (stryCov_9fa48("30"), colon + 1)));
    if (stryMutAct_9fa48("33") ? name.startsWith('[') || !isIPv6(name.slice(1, -1)) : stryMutAct_9fa48("32") ? false : stryMutAct_9fa48("31") ? true : (stryCov_9fa48("31", "32", "33"), (stryMutAct_9fa48("34") ? name.endsWith('[') : (stryCov_9fa48("34"), name.startsWith(stryMutAct_9fa48("35") ? "" : (stryCov_9fa48("35"), '[')))) && (stryMutAct_9fa48("36") ? isIPv6(name.slice(1, -1)) : (stryCov_9fa48("36"), !isIPv6(stryMutAct_9fa48("37") ? name : (stryCov_9fa48("37"), name.slice(1, stryMutAct_9fa48("38") ? +1 : (stryCov_9fa48("38"), -1)))))))) return undefined;
    const port = (stryMutAct_9fa48("41") ? digits !== '' : stryMutAct_9fa48("40") ? false : stryMutAct_9fa48("39") ? true : (stryCov_9fa48("39", "40", "41"), digits === (stryMutAct_9fa48("42") ? "Stryker was here!" : (stryCov_9fa48("42"), '')))) ? undefined : Number(digits);
    return (stryMutAct_9fa48("45") ? port !== undefined || port > MAX_PORT : stryMutAct_9fa48("44") ? false : stryMutAct_9fa48("43") ? true : (stryCov_9fa48("43", "44", "45"), (stryMutAct_9fa48("47") ? port === undefined : stryMutAct_9fa48("46") ? true : (stryCov_9fa48("46", "47"), port !== undefined)) && (stryMutAct_9fa48("50") ? port <= MAX_PORT : stryMutAct_9fa48("49") ? port >= MAX_PORT : stryMutAct_9fa48("48") ? true : (stryCov_9fa48("48", "49", "50"), port > MAX_PORT)))) ? undefined : stryMutAct_9fa48("51") ? {} : (stryCov_9fa48("51"), {
      name: stryMutAct_9fa48("52") ? name.toUpperCase() : (stryCov_9fa48("52"), name.toLowerCase()),
      port
    });
  }
}
const LABELS = stryMutAct_9fa48("59") ? /^[a-z0-9_-]+(?:\.[^a-z0-9_-]+)*$/ : stryMutAct_9fa48("58") ? /^[a-z0-9_-]+(?:\.[a-z0-9_-])*$/ : stryMutAct_9fa48("57") ? /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)$/ : stryMutAct_9fa48("56") ? /^[^a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/ : stryMutAct_9fa48("55") ? /^[a-z0-9_-](?:\.[a-z0-9_-]+)*$/ : stryMutAct_9fa48("54") ? /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*/ : stryMutAct_9fa48("53") ? /[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/ : (stryCov_9fa48("53", "54", "55", "56", "57", "58", "59"), /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/);
const NAME = stryMutAct_9fa48("69") ? /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[^0-9a-f:.]+\])$/ : stryMutAct_9fa48("68") ? /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]\])$/ : stryMutAct_9fa48("67") ? /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.|\[[0-9a-f:.]+\])$/ : stryMutAct_9fa48("66") ? /^(?:[a-z0-9_-]+(?:\.[^a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/ : stryMutAct_9fa48("65") ? /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-])*\.?|\[[0-9a-f:.]+\])$/ : stryMutAct_9fa48("64") ? /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)\.?|\[[0-9a-f:.]+\])$/ : stryMutAct_9fa48("63") ? /^(?:[^a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/ : stryMutAct_9fa48("62") ? /^(?:[a-z0-9_-](?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/ : stryMutAct_9fa48("61") ? /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])/ : stryMutAct_9fa48("60") ? /(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/ : (stryCov_9fa48("60", "61", "62", "63", "64", "65", "66", "67", "68", "69"), /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/);
export const MAX_PORT = 65_535;

/** A host as a browser writes it: lower case, IDNA in ASCII, an address in its canonical form; `undefined` for none. */
export function normalizeHost(text: string): string | undefined {
  if (stryMutAct_9fa48("70")) {
    {}
  } else {
    stryCov_9fa48("70");
    if (stryMutAct_9fa48("73") ? /[\s/?#@\\%]/.test(text) && text === '' : stryMutAct_9fa48("72") ? false : stryMutAct_9fa48("71") ? true : (stryCov_9fa48("71", "72", "73"), (stryMutAct_9fa48("75") ? /[\S/?#@\\%]/ : stryMutAct_9fa48("74") ? /[^\s/?#@\\%]/ : (stryCov_9fa48("74", "75"), /[\s/?#@\\%]/)).test(text) || (stryMutAct_9fa48("77") ? text !== '' : stryMutAct_9fa48("76") ? false : (stryCov_9fa48("76", "77"), text === (stryMutAct_9fa48("78") ? "Stryker was here!" : (stryCov_9fa48("78"), '')))))) return undefined;
    try {
      if (stryMutAct_9fa48("79")) {
        {}
      } else {
        stryCov_9fa48("79");
        const {
          hostname
        } = new URL(stryMutAct_9fa48("80") ? `` : (stryCov_9fa48("80"), `http://${text}`));
        return NAME.test(hostname) ? hostname : undefined;
      }
    } catch {
      if (stryMutAct_9fa48("81")) {
        {}
      } else {
        stryCov_9fa48("81");
        return undefined;
      }
    }
  }
}

/** A name as it is, an IPv6 literal (in brackets) in its one canonical form: there are many ways to write it. */
export function canonicalHost(host: string): string {
  if (stryMutAct_9fa48("82")) {
    {}
  } else {
    stryCov_9fa48("82");
    const words = (stryMutAct_9fa48("83") ? host.endsWith('[') : (stryCov_9fa48("83"), host.startsWith(stryMutAct_9fa48("84") ? "" : (stryCov_9fa48("84"), '[')))) ? parseIPv6(stryMutAct_9fa48("85") ? host : (stryCov_9fa48("85"), host.slice(1, stryMutAct_9fa48("86") ? +1 : (stryCov_9fa48("86"), -1)))) : undefined;
    return (stryMutAct_9fa48("89") ? words !== undefined : stryMutAct_9fa48("88") ? false : stryMutAct_9fa48("87") ? true : (stryCov_9fa48("87", "88", "89"), words === undefined)) ? host : stryMutAct_9fa48("90") ? `` : (stryCov_9fa48("90"), `[${formatIPv6(words)}]`);
  }
}

/** Whether `host` is one or more whole labels before `suffix`, which begins with a dot. */
export const isUnder = stryMutAct_9fa48("91") ? () => undefined : (stryCov_9fa48("91"), (() => {
  const isUnder = (host: string, suffix: string): boolean => stryMutAct_9fa48("94") ? host.endsWith(suffix) || LABELS.test(host.slice(0, -suffix.length)) : stryMutAct_9fa48("93") ? false : stryMutAct_9fa48("92") ? true : (stryCov_9fa48("92", "93", "94"), (stryMutAct_9fa48("95") ? host.startsWith(suffix) : (stryCov_9fa48("95"), host.endsWith(suffix))) && LABELS.test(stryMutAct_9fa48("96") ? host : (stryCov_9fa48("96"), host.slice(0, stryMutAct_9fa48("97") ? +suffix.length : (stryCov_9fa48("97"), -suffix.length)))));
  return isUnder;
})());

/** The `.example.com` of `*.example.com`, normalised; `undefined` where the rest is no name. */
export function wildcardSuffix(pattern: string): string | undefined {
  if (stryMutAct_9fa48("98")) {
    {}
  } else {
    stryCov_9fa48("98");
    const base = normalizeHost(stryMutAct_9fa48("99") ? pattern : (stryCov_9fa48("99"), pattern.slice(2)));
    return (stryMutAct_9fa48("102") ? (base === undefined || base.startsWith('[')) && /^[\d.]+$/.test(base) : stryMutAct_9fa48("101") ? false : stryMutAct_9fa48("100") ? true : (stryCov_9fa48("100", "101", "102"), (stryMutAct_9fa48("104") ? base === undefined && base.startsWith('[') : stryMutAct_9fa48("103") ? false : (stryCov_9fa48("103", "104"), (stryMutAct_9fa48("106") ? base !== undefined : stryMutAct_9fa48("105") ? false : (stryCov_9fa48("105", "106"), base === undefined)) || (stryMutAct_9fa48("107") ? base.endsWith('[') : (stryCov_9fa48("107"), base.startsWith(stryMutAct_9fa48("108") ? "" : (stryCov_9fa48("108"), '[')))))) || (stryMutAct_9fa48("113") ? /^[\D.]+$/ : stryMutAct_9fa48("112") ? /^[^\d.]+$/ : stryMutAct_9fa48("111") ? /^[\d.]$/ : stryMutAct_9fa48("110") ? /^[\d.]+/ : stryMutAct_9fa48("109") ? /[\d.]+$/ : (stryCov_9fa48("109", "110", "111", "112", "113"), /^[\d.]+$/)).test(base))) ? undefined : stryMutAct_9fa48("114") ? `` : (stryCov_9fa48("114"), `.${base}`);
  }
}