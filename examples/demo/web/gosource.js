// Just enough colour to read a dozen lines of Go: comments, strings, keywords, numbers. No DOM.

const TOKEN = /(\/\/[^\n]*)|("(?:[^"\\\n]|\\.)*"|`[^`]*`)|\b(package|import|func|type|struct|interface|return|if|else|for|range|switch|case|default|var|const|go|defer|select|chan|map|nil|true|false)\b|\b(\d[\d_.]*)\b/g;

const KINDS = ["comment", "string", "keyword", "number"];

/** [{kind, text}] that together are the source; kind is "" for everything else. */
export function colour(source) {
  const out = [];
  let end = 0;
  for (const m of source.matchAll(TOKEN)) {
    if (m.index > end) out.push({ kind: "", text: source.slice(end, m.index) });
    out.push({ kind: KINDS[m.slice(1).findIndex((g) => g !== undefined)], text: m[0] });
    end = m.index + m[0].length;
  }
  if (end < source.length) out.push({ kind: "", text: source.slice(end) });
  return out;
}
