"""Hooks of attacks: learning, test inputs, poisoned training sets, triggers, delivered networks."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, Edits, Model, Victim


class AttackLearn(Protocol):
    """Preparation of an evasion attack on the training set, before it sees test inputs."""

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Learn what ``perturb`` needs and write it to ``ctx.state``.

        Optional. Without it, ``perturb`` starts with an empty ``ctx.state``.

        Called:
            Stage ``learn``, once for each trained network, budget and seed, in ``evasion`` and
            ``evasion-transfer``, there unless the public network is existing weights, which have no
            training set. Never in ``evasion-query``. A defence that trains against the
            attack may call it during stage ``train`` (``adversary.learn``).

        Args:
            model: the network that the threat model grants: the defended victim in ``evasion``,
                the public network or the surrogate in ``evasion-transfer``. Its methods ``loss``,
                ``features``, ``maps`` and ``module`` exist where the manifest's ``needs`` asks
                for them.
            train: the training set that belongs to the model.
            val: its validation set.
            budget: the limits for ``perturb``: ``norm`` with ``eps``, ``patch``, ``pixels`` or
                ``unbounded``.
            ctx: seeds, the device, and the folder ``ctx.state``, which is writable here.

        Returns:
            Nothing. Files in ``ctx.state`` are kept and are read-only in ``perturb``.

        Raises:
            NotApplicable: the attack cannot play under this budget or on these data.

        Withheld:
            Test inputs and labels. In ``evasion-transfer``, the victim's weights and outputs.

        Example:
            def learn(self, model, train, val, budget, ctx):
                direction = torch.zeros(train.spec.shape)
                for x, y in train.batches(256):
                    x.requires_grad_(True)
                    (gradient,) = torch.autograd.grad(model.loss(x, y).sum(), x)
                    direction += gradient.sum(dim=0).cpu()
                save_file({"direction": direction}, ctx.state / "learned.safetensors")
        """
        ...


class AttackPerturb(Protocol):
    """Perturbation of test inputs within the budget, so that the victim fails on them."""

    def perturb(
        self,
        model: Model | None,
        x: Tensor,
        y: Tensor | None,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        """Return attacked inputs for one batch.

        Required in ``evasion``, ``evasion-query`` and ``evasion-transfer``.

        Called:
            Stage ``attack``, once for each batch of the evaluation subset, in order; the
            benchmark's ``eval_subset: {batch: …}`` is the batch size. During adversarial training
            also in stage ``train``, once for each training batch.

        Args:
            model: the granted network: the defended victim in ``evasion``, an oracle with only
                ``predict`` and ``left`` in ``evasion-query``, the public network or the surrogate
                in ``evasion-transfer``. ``None`` when the manifest has ``no_model_access: true``.
                A public network that is existing weights has a new last layer: it offers
                ``features`` and ``maps`` only.
            x: clean inputs, float32 in [0, 1], ``[B, C, H, W]`` (features: ``[B, F]``).
            y: labels. Classification int64 ``[B]``; segmentation uint8 ``[B, H, W]``,
                void where it is ``spec.void``. ``None`` when the manifest has
                ``no_model_access: true``.
            goal: target labels in the form of ``y``, or ``None`` in an untargeted attack.
            budget: ``norm`` (``linf`` or ``l2``) with ``eps`` in units of [0, 1] pixels (of L∞ also
                ``per_channel``, its unit in each channel), ``patch`` (side of a square in pixels),
                ``pixels`` (how many may change) or ``unbounded``; or ``norm`` with ``minimal``,
                which asks for the nearest wrong input, whatever its distance;
                ``queries`` per example and ``answers`` (``scores`` or ``labels``) in
                ``evasion-query``.
            ctx: seeds (different for each batch), the device, and ``ctx.state`` as ``learn`` left
                it.

        Returns:
            Attacked inputs, float32, finite, of the shape of ``x``, in [0, 1] and within the
            budget. The judge measures them: an input over budget ends the cell as
            ``budget_violation``, it is never clipped. Under ``minimal`` the nearest wrong input
            that was found; where none was, the clean one, or any that is right.

        Raises:
            NotApplicable: the attack cannot play under this budget, goal or task.
            QueryRefused: raised by ``model.predict`` when a row of the batch has no query left.
                The attack is expected to catch it, or to ask ``model.left()`` first.

        Withheld:
            The training set (see ``learn``). In ``evasion-query``, the weights and gradients; in
            ``evasion-transfer``, the victim's weights and outputs.

        Example:
            def perturb(self, model, x, y, goal, budget, ctx):
                x_adv = x.clone().requires_grad_(True)
                loss = model.loss(x_adv, y) if goal is None else -model.loss(x_adv, goal)
                (gradient,) = torch.autograd.grad(loss.sum(), x_adv)
                norm, eps = ball(budget, x)
                return project(x + eps * steepest(gradient, norm), x, norm, eps)
        """
        ...


class AttackPoison(Protocol):
    """Edits to a training set, proposed before the victim is trained on it."""

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        """Return the training examples to change, with their new inputs or labels.

        Required in ``poisoning`` and ``backdoor``.

        Called:
            Stage ``poison``, once for each budget and seed, before training. The harness counts
            the edits, checks them against the budget and applies them: new inputs to the stored
            examples, so that a random crop or a flip moves them, an overlay after augmentation.

        Args:
            train: the training set that will be edited: the student's, or the public one when the
                benchmark says ``poisons: public``.
            val: the clean validation set.
            model: the network that the benchmark's ``knowledge`` grants: a victim trained on the
                clean set (``clean-victim``) or another network (``surrogate``); ``None`` when
                ``knowledge`` is ``none``.
            budget: ``edits`` (how many examples may change, a count), ``labels`` and ``features``
                (what may change in them); ``patch``, ``pixels``, or ``norm`` with ``eps``, limits
                how inputs may change. In ``backdoor`` also ``target``, the target class;
                ``budget.wanted(y, classes)`` gives the wanted class of each example.
            ctx: seeds, the device, and ``ctx.state``, which is writable here and read-only in
                ``trigger``.

        Returns:
            ``Edits``: ids of at most ``budget.edits`` examples, each id once, with new inputs
            (float32 in [0, 1]) or an overlay, new labels, or both. In ranking an edit may only
            turn the sign of a label or swap the two compared items. Edits over budget end the
            cell as ``budget_violation``.

        Raises:
            NotApplicable: the budget does not allow the kind of edit that the attack makes, or
                the attack needs a ``model`` and has none.

        Withheld:
            Test data, and the network that will be trained on the edited set.

        Example:
            def poison(self, train, val, model, budget, ctx):
                order = torch.randperm(len(train), generator=ctx.generator("rows"))
                rows = order[: budget.edits]
                labels = (train.y[rows] + 1) % train.spec.outputs
                return Edits(ids=train.ids[rows], y=labels)
        """
        ...


class AttackTrigger(Protocol):
    """Insertion of a backdoor's trigger into test inputs."""

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        """Return the inputs with the trigger in them.

        Required in ``backdoor``, optional in ``supply-chain``.

        Called:
            Stage ``attack``, once for each batch of the evaluation subset, in order. The judge
            leaves out the examples of the target class afterwards.

        Args:
            x: clean test inputs, float32 in [0, 1], ``[B, C, H, W]``.
            budget: what the trigger may cover: ``patch`` (side of a square in pixels), ``pixels``
                (how many), or ``norm`` with ``eps``; ``target`` is the backdoor's class.
            ctx: ``ctx.state`` as ``poison`` or ``deliver`` left it, read-only. ``ctx.seed`` gives
                the same values in every batch.

        Returns:
            Inputs with the trigger, float32, finite, of the shape of ``x``, in [0, 1] and within
            the budget.

        Raises:
            NotApplicable: the budget does not allow this trigger.

        Withheld:
            Test labels, and the trained network.

        Example:
            def trigger(self, x, budget, ctx):
                side = budget.patch
                marked = x.clone()
                marked[:, :, -side:, -side:] = 1.0
                return marked
        """
        ...


class AttackDeliver(Protocol):
    """Training of the malicious network that the student will start from."""

    def deliver(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        budget: Budget,
        ctx: Context,
    ) -> nn.Module:
        """Return the network to deliver in place of the public one.

        Required in ``supply-chain``.

        Called:
            Stage ``deliver``, once for each budget and seed, after the public network was trained
            and before the student's training.

        Args:
            victim: the network family, with its training recipe ``victim.fit``.
            network: the public network (trained on the public data, or the existing weights that
                the victim's training starts from) with an untrained last layer for the attacker's
                classes, trainable; it may be changed in place.
            train: the attacker's own data (benchmark role ``attacker``; without it, the public
                data).
            val: their validation set.
            budget: what ``trigger`` may cover later (``patch``, ``pixels``, or ``norm`` with
                ``eps``) and ``target``, the backdoor's class. How much of its own data the attacker
                poisons is its own choice.
            ctx: seeds, the device, and ``ctx.state``, which is writable here and read-only in
                ``trigger``.

        Returns:
            A network whose tensors have the names and shapes of ``victim.build``'s, usually
            ``network`` itself. The student starts from all of its tensors but the last layer's.

        Raises:
            NotApplicable: the target is not a class of the attacker's data, or the budget does not
                allow the trigger.

        Withheld:
            The student's data and weights.

        Example:
            def deliver(self, victim, network, train, val, budget, ctx):
                own = loss_of(victim, train.spec)

                def loss(net, x, y):
                    marked = self.trigger(x, budget, ctx)
                    return own(net, x, y) + own(net, marked, torch.full_like(y, budget.target))

                victim.fit(network, train, val, loss, ctx)
                return network
        """
        ...
