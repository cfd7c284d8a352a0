"""The routers of a topology, the links among them, and what their FIBs ought to be.

Routers are SRs and SGs, as in our own runs: pods, SPAs and the SCSC compute no routes. An SG carries nothing of others
unless the file says so (CON-07), and every link costs the same.
"""

from itertools import pairwise


class Core:
    def __init__(self, plan):
        self.nodes = plan.of_role("sr", "sg")
        self.ends = [name for name in plan.of_role("sg") if not plan.nodes[name]["transit"]]
        self.links = [link for link in plan.links if all(name in self.nodes for name in link)]
        self.gateways = [self._gateway(pod, plan.links) for pod in plan.of_role("pod")]
        self._known = {}

    def _gateway(self, pod, links):
        return next(a if b == pod else b for a, b in links if pod in (a, b))

    def endpoints(self):
        """The SG of the first pod, and the first of those SGs that are farthest from it: as `far_pair` of the suite."""
        first = self.gateways[0]
        return first, max(self.gateways, key=lambda other: self.distances(first)[other])

    def _beside(self, name, cut):
        return [b if a == name else a for a, b in self.links if name in (a, b) and (a, b) != cut]

    def distances(self, source, cut=None):
        """Links from a router to those that it reaches."""
        if (source, cut) not in self._known:
            self._known[source, cut] = self._distances(source, cut)
        return self._known[source, cut]

    def _distances(self, source, cut):
        found, newest = {source: 0}, [source]
        while newest:
            carrying = [name for name in newest if name == source or name not in self.ends]
            newest = []
            for name in carrying:
                for other in self._beside(name, cut):
                    if other not in found:
                        found[other] = found[name] + 1
                        newest.append(other)
        return found

    def fib(self, name, cut=None):
        """Next hops of a router by destination: all on shortest paths, none through an end."""
        far = self.distances(name, cut)
        beside = self._beside(name, cut)
        return {
            target: frozenset(
                hop
                for hop in beside
                if (hop == target or hop not in self.ends) and self.distances(hop, cut).get(target) == far[target] - 1
            )
            for target in far
            if target != name
        }

    def spare(self, path):
        """Links of a path without which there still is a way, in its order."""
        links = [next(link for link in self.links if set(link) == {a, b}) for a, b in pairwise(path)]
        return [link for link in links if path[-1] in self.distances(path[0], link)]
