// The mathematics of the map: principal components, groups of near points, and words that tell a group from the rest.
// All of it is deterministic, so the same sample gives the same map.

/** A small generator of numbers in [0, 1), the same for the same seed (mulberry32). */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes the `k` columns of a `d × k` matrix orthonormal, twice over for the rounding (modified Gram–Schmidt). */
function orthonormalise(q, d, k) {
  for (let pass = 0; pass < 2; pass++) {
    for (let j = 0; j < k; j++) {
      for (let i = 0; i < j; i++) {
        let dot = 0;
        for (let r = 0; r < d; r++) dot += q[r * k + i] * q[r * k + j];
        for (let r = 0; r < d; r++) q[r * k + j] -= dot * q[r * k + i];
      }
      let norm = 0;
      for (let r = 0; r < d; r++) norm += q[r * k + j] ** 2;
      norm = Math.sqrt(norm);
      // A direction in which nothing varies stays nought.
      for (let r = 0; r < d; r++) q[r * k + j] = norm > 1e-12 ? q[r * k + j] / norm : 0;
    }
  }
}

/** Eigenvalues and eigenvectors (as columns) of a symmetric `k × k` matrix, by Jacobi's rotations. */
function eigen(matrix, k) {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(k * k);
  for (let i = 0; i < k; i++) v[i * k + i] = 1;
  for (let sweep = 0; sweep < 50; sweep++) {
    let off = 0;
    for (let i = 0; i < k; i++) for (let j = i + 1; j < k; j++) off += a[i * k + j] ** 2;
    if (off < 1e-20) break;
    for (let p = 0; p < k; p++) {
      for (let q = p + 1; q < k; q++) {
        if (Math.abs(a[p * k + q]) < 1e-300) continue;
        const theta = (a[q * k + q] - a[p * k + p]) / (2 * a[p * k + q]);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let r = 0; r < k; r++) {
          const [x, y] = [a[r * k + p], a[r * k + q]];
          [a[r * k + p], a[r * k + q]] = [c * x - s * y, s * x + c * y];
        }
        for (let r = 0; r < k; r++) {
          const [x, y] = [a[p * k + r], a[q * k + r]];
          [a[p * k + r], a[q * k + r]] = [c * x - s * y, s * x + c * y];
          const [vx, vy] = [v[r * k + p], v[r * k + q]];
          [v[r * k + p], v[r * k + q]] = [c * vx - s * vy, s * vx + c * vy];
        }
      }
    }
  }
  return { values: Array.from({ length: k }, (_, i) => a[i * k + i]), vectors: v };
}

/**
 * The `k` principal components of `n` points of `d` numbers (`points` is `n × d`, and is centred in place), by subspace
 * iteration. Answers `scores` (`n × k`) and `shares`: the part of the variance that each component has.
 */
export function principal(points, n, d, k, iterations = 20) {
  const mean = new Float64Array(d);
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) mean[j] += points[i * d + j] / n;
  let variance = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < d; j++) {
      points[i * d + j] -= mean[j];
      variance += points[i * d + j] ** 2;
    }
  }
  const random = dice(1);
  const q = Float64Array.from({ length: d * k }, () => random() - 0.5);
  orthonormalise(q, d, k);
  const scores = new Float64Array(n * k);
  const project = () => {
    scores.fill(0);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < d; j++) {
        const x = points[i * d + j];
        for (let c = 0; c < k; c++) scores[i * k + c] += x * q[j * k + c];
      }
    }
  };
  for (let round = 0; round < iterations; round++) {
    project();
    q.fill(0);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < d; j++) {
        const x = points[i * d + j];
        for (let c = 0; c < k; c++) q[j * k + c] += x * scores[i * k + c];
      }
    }
    orthonormalise(q, d, k);
  }
  project();
  // Within the subspace the axes are turned to those of the most variance, in order.
  const small = new Float64Array(k * k);
  for (let i = 0; i < n; i++)
    for (let a = 0; a < k; a++) for (let b = 0; b < k; b++) small[a * k + b] += scores[i * k + a] * scores[i * k + b];
  const { values, vectors } = eigen(small, k);
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a]);
  const turned = new Float64Array(n * k);
  for (let i = 0; i < n; i++) {
    order.forEach((from, to) => {
      let sum = 0;
      for (let c = 0; c < k; c++) sum += scores[i * k + c] * vectors[c * k + from];
      turned[i * k + to] = sum;
    });
  }
  return { scores: turned, shares: order.map((i) => (variance > 0 ? Math.max(0, values[i]) / variance : 0)) };
}

/** Groups of near points: for each of `n` rows of `k` numbers its group, the largest group first (k-means++). */
export function groups(rows, n, k, count, tries = 4) {
  const distance = (i, centre) => {
    let sum = 0;
    for (let c = 0; c < k; c++) sum += (rows[i * k + c] - centre[c]) ** 2;
    return sum;
  };
  const rowOf = (i) => Array.from(rows.subarray(i * k, (i + 1) * k));
  let best = { cost: Infinity, labels: new Uint8Array(n) };
  for (let attempt = 0; attempt < tries; attempt++) {
    const random = dice(attempt + 7);
    const centres = [rowOf(Math.floor(random() * n))];
    const nearest = new Float64Array(n).fill(Infinity);
    while (centres.length < count) {
      let total = 0;
      for (let i = 0; i < n; i++) {
        nearest[i] = Math.min(nearest[i], distance(i, centres.at(-1)));
        total += nearest[i];
      }
      if (total === 0) break;
      let at = random() * total;
      let chosen = 0;
      while (chosen < n - 1 && (at -= nearest[chosen]) > 0) chosen += 1;
      centres.push(rowOf(chosen));
    }
    const labels = new Uint8Array(n);
    let cost = 0;
    for (let round = 0; round < 30; round++) {
      let moved = 0;
      cost = 0;
      const sums = centres.map(() => new Float64Array(k));
      const sizes = centres.map(() => 0);
      for (let i = 0; i < n; i++) {
        let [label, least] = [0, Infinity];
        centres.forEach((centre, c) => {
          const away = distance(i, centre);
          if (away < least) [label, least] = [c, away];
        });
        if (labels[i] !== label) moved += 1;
        labels[i] = label;
        cost += least;
        sizes[label] += 1;
        for (let c = 0; c < k; c++) sums[label][c] += rows[i * k + c];
      }
      if (round > 0 && moved === 0) break;
      centres.forEach((centre, c) => sizes[c] > 0 && sums[c].forEach((sum, j) => (centre[j] = sum / sizes[c])));
    }
    if (cost < best.cost) best = { cost, labels };
  }
  const sizes = new Map();
  best.labels.forEach((label) => sizes.set(label, (sizes.get(label) ?? 0) + 1));
  const order = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a) || a - b);
  return best.labels.map((label) => order.indexOf(label));
}

/** For each group some words that its texts have and those of others seldom do. */
export function tellingWords(labels, texts, count, words_max = 3) {
  const overall = new Map();
  const within = Array.from({ length: count }, () => new Map());
  const sizes = new Array(count).fill(0);
  texts.forEach((text, i) => {
    sizes[labels[i]] += 1;
    for (const word of new Set(text.toLowerCase().match(/\p{L}{3,}/gu) ?? [])) {
      overall.set(word, (overall.get(word) ?? 0) + 1);
      within[labels[i]].set(word, (within[labels[i]].get(word) ?? 0) + 1);
    }
  });
  return within.map((words, group) => {
    const others = Math.max(1, texts.length - sizes[group]);
    // How much commoner than elsewhere counts most, but not alone: rare words would be accidents, common ones say nothing.
    const weight = (word, n) => {
      const lift = Math.log((n / sizes[group] + 1e-3) / (((overall.get(word) ?? 0) - n) / others + 1e-3));
      return lift <= 0 ? 0 : Math.sqrt(n / sizes[group]) * lift ** 2;
    };
    return [...words]
      .filter(([, n]) => n > 1 || sizes[group] < 10)
      .sort((a, b) => weight(...b) - weight(...a) || (a[0] < b[0] ? -1 : 1))
      .slice(0, words_max)
      .map(([word]) => word);
  });
}
